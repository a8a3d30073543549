"""The shape of `pluggably.yaml`: its types, defaults, limits and descriptions.

The loader, the JSON Schema for editors and the reference page all read these structs, so a key is written
once, here. What is not here: reading a file (`load`), the environment and the command line (`settings`), and
the options of runners and codecs, which belong to the plug-ins and are checked against their own types.

What surprises: two hints ride on a field's `Meta.extra`. `form` says in words what a pattern wants, for the
error message; `reads` names a special way to read the text: `bytes` ("20MiB") or `file_source`
(`file:/path`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from pluggably.config.secret import Secret
from pluggably.domain.catalog import Capabilities, InputModality, LocalModel, Price
from pluggably.domain.generation import Location, Modality

MIB = 1024 * 1024
# The id of the model that ships with the package.
DEMO_MODEL = "demo"
# The keys of `ModelEntry` that make a route, and mean nothing to a model on this machine.
ROUTE_KEYS = ("targets", "choose", "location", "first_event_s", "on_context_length", "on_content_filter")

# What `reads: bytes` takes as text, for the JSON Schema; `walk.parse_size` reads it.
_SIZE_SCHEMA = {"pattern": "^[0-9]+ ?([KMG]i?B|B)?$"}

# Constraints stand on the type that they bound: msgspec takes none on an optional one.
ProviderName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        extra={"form": "a provider's name: letters, digits, and . _ -"},
    ),
]
ModelId: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*$",
        max_length=200,
        extra={"form": "a model's id: letters, digits, and . _ : - /, such as qwen3-0.6b or team/chat:v2"},
    ),
]
Alias: TypeAlias = Annotated[
    str, Meta(description="An alias: the model that is meant, such as `openai/gpt-5`.", min_length=1)
]
TargetName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
HttpUrl: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        extra={"form": "a URL that starts with http:// or https://, without a password, a query or spaces"},
    ),
]
HeaderName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", extra={"form": "the name of a header"})
]
UrlPath: TypeAlias = Annotated[str, Meta(pattern=r"^/\S*$", extra={"form": "a path that starts with /"})]
AllowedHost: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_.:/-]{1,253}$",
        extra={"form": "a host's name, an address or a network: files.corp.example, 10.1.2.3, 10.1.0.0/16"},
    ),
]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
VARIABLE_VALUE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"
VariableValue: TypeAlias = Annotated[
    str,
    Meta(
        pattern=VARIABLE_VALUE,
        extra={"form": "a part of an address: letters, digits, and . _ -"},
    ),
]
Dollars: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?$",
        # A number without quotes is taken too, and kept as it was written.
        extra_json_schema={"minimum": 0},
        extra={"form": "an amount of US dollars, such as 0.15", "noun": "US dollars"},
    ),
]
RemoteModelId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
PositiveSeconds: TypeAlias = Annotated[float, Meta(gt=0)]
NonNegativeSeconds: TypeAlias = Annotated[float, Meta(ge=0)]
Words: TypeAlias = Annotated[list[str], Meta(min_length=1)]


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway listens, and what it takes from a client."""

    host: Annotated[
        str,
        Meta(
            description="The address to listen on. `0.0.0.0` listens on every network of the machine.",
            min_length=1,
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(description="The TCP port; 0 takes a free one.", ge=0, le=65535)] = 8080
    max_body_bytes: Annotated[
        int,
        Meta(
            description="The longest request body, in bytes or as `20MiB`. A longer one answers 413.",
            ge=1024,
            extra_json_schema=_SIZE_SCHEMA,
            extra={"reads": "bytes"},
        ),
    ] = 20 * MIB
    max_header_bytes: Annotated[
        int,
        Meta(
            description="The longest request head, in bytes or as `64KiB`. A longer one answers 431.",
            ge=1024,
            extra_json_schema=_SIZE_SCHEMA,
            extra={"reads": "bytes"},
        ),
    ] = 64 * 1024
    max_nesting: Annotated[
        int,
        Meta(description="How deep the JSON of a request may nest. A deeper one answers 400.", ge=8, le=500),
    ] = 64
    body_timeout_s: Annotated[
        float, Meta(description="How long a client may take to send its body. Seconds. After it: 408.", gt=0)
    ] = 30
    shutdown_grace_s: Annotated[
        float,
        Meta(
            description="How long running generations may go on once the gateway is told to stop. Seconds.",
            ge=0,
        ),
    ] = 30
    reload_check_s: Annotated[
        float,
        Meta(
            description="How often the config's files are read to see whether they have changed. Seconds.",
            ge=0.05,
            le=3600,
        ),
    ] = 1
    open_metrics: Annotated[
        bool, Meta(description="Whether `/metrics` is open to anyone, without a key of the scope `metrics`.")
    ] = False
    max_concurrent_generations: Annotated[
        int, Meta(description="How many generations may run or wait at once. One more answers 503.", ge=1)
    ] = 1000


class TimeoutLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The longest that a generation may take. A request may ask for less, never for more. Waiting for a free
    slot and loading a model do not count."""

    first_event_s: Annotated[float, Meta(description="Until the first piece of output. Seconds.", gt=0)] = 120
    idle_s: Annotated[float, Meta(description="Between two pieces of output. Seconds.", gt=0)] = 120
    total_s: Annotated[float, Meta(description="In all. Seconds.", gt=0)] = 3600


class Inputs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images, files and audio in requests: what of them the gateway fetches by URL, for a target that takes no URLs,
    and how much of it. Only public addresses are fetched from, unless they are named here."""

    allow_hosts: Annotated[
        list[AllowedHost],
        Meta(
            description="Hosts on your own network that clients may have fetched: names, addresses, networks. What a "
            "key of this gateway can then reach there is up to you."
        ),
    ] = []
    allow_ports: Annotated[list[Port], Meta(description="Ports to fetch from, beside 80 and 443.")] = []
    max_part_bytes: Annotated[
        int,
        Meta(
            description="The longest image, file or audio, in bytes or as `20MiB`, however it comes. A longer one "
            "answers 413.",
            ge=1024,
            extra_json_schema=_SIZE_SCHEMA,
            extra={"reads": "bytes"},
        ),
    ] = 20 * MIB
    max_total_bytes: Annotated[
        int,
        Meta(
            description="The most that is fetched for one request, in bytes or as `50MiB`. More answers 413.",
            ge=1024,
            extra_json_schema=_SIZE_SCHEMA,
            extra={"reads": "bytes"},
        ),
    ] = 50 * MIB
    fetch_timeout_s: Annotated[
        float, Meta(description="The longest that one URL may take, redirects included. Seconds.", gt=0, le=600)
    ] = 15


class Log(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, and how. The log goes to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least severe line that is written."),
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="`auto` is text on a terminal, else one JSON object a line."),
    ] = "auto"


class KnownPrice(Price, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs, in US dollars a million tokens. A price that is left out is not known; what costs nothing
    has the price 0."""

    input_per_million: Annotated[Dollars | None, Meta(description="A million input tokens, such as `0.15`.")] = None
    cached_input_per_million: Annotated[
        Dollars | None, Meta(description="A million input tokens that the provider still had in its cache.")
    ] = None
    output_per_million: Annotated[Dollars | None, Meta(description="A million output tokens.")] = None


class KnownCapabilities(Capabilities, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model can do. What is left out is not known: it is tried, not refused."""

    streaming: Annotated[bool | None, Meta(description="Whether it answers as a stream.")] = None
    tools: Annotated[bool | None, Meta(description="Whether it can call tools.")] = None
    json_schema: Annotated[bool | None, Meta(description="Whether it can be held to a JSON Schema.")] = None
    reasoning: Annotated[bool | None, Meta(description="Whether it can reason before it answers.")] = None


class ModelFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator knows of a model at a provider. A key that is left out says nothing."""

    name: Annotated[str | None, Meta(description="The name to show.")] = None
    price: Annotated[KnownPrice | None, Meta(description="What it costs; US dollars a million tokens.")] = None
    free: Annotated[bool | None, Meta(description="Whether it costs nothing.")] = None
    context_tokens: Annotated[Positive | None, Meta(description="The context, in tokens.")] = None
    max_output_tokens: Annotated[Positive | None, Meta(description="The longest answer, in tokens.")] = None
    input_modalities: Annotated[
        list[InputModality] | None, Meta(description="What it takes: `text`, `image`, `file`, `audio`.")
    ] = None
    output_modalities: Annotated[list[Modality] | None, Meta(description="What it makes: `text`, `embedding`.")] = None
    capabilities: Annotated[KnownCapabilities, Meta(description="What it can do.")] = KnownCapabilities()


class AwsCredential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What signs calls at AWS: a pair of keys, or a profile of the shared files."""

    access_key_id: Annotated[Secret | None, Meta(description="The id of an access key.")] = None
    secret_access_key: Annotated[Secret | None, Meta(description="The secret of that key.")] = None
    session_token: Annotated[Secret | None, Meta(description="For temporary keys, the token that came with them.")] = (
        None
    )
    profile: Annotated[
        str | None, Meta(description="A profile of `~/.aws/credentials` and `~/.aws/config`, in place of keys.")
    ] = None


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A remote service, or a server on your own network. An entry that bears a preset's name needs nothing
    else."""

    preset: Annotated[
        str | None,
        Meta(description="The preset to start from. Not needed where the entry bears the preset's own name."),
    ] = None
    codec: Annotated[
        str | None,
        Meta(description="The wire that the service speaks, where no preset says it, such as `openai`."),
    ] = None
    base_url: Annotated[
        HttpUrl | None,
        Meta(
            description="Everything of the address before the operation's own path, the version included: "
            "`http://box:8000/v1`."
        ),
    ] = None
    api_key: Annotated[
        Secret | None,
        Meta(
            description="Our key there: `${NAME}` takes it from the environment, `file:/path` from a file. A "
            "preset looks for its usual variable by itself."
        ),
    ] = None
    api_keys: Annotated[
        list[Secret],
        Meta(
            description="Several keys, in place of `api_key`: the first is used, the next one where a key is refused, "
            "limited or out of credit."
        ),
    ] = []
    aws: Annotated[
        list[AwsCredential],
        Meta(
            description="For a preset whose calls AWS accounts sign: the credentials, one after the other as with "
            "`api_keys`. Without any, and without a key: those that AWS's own tools would find."
        ),
    ] = []
    google: Annotated[
        list[Secret],
        Meta(
            description="For a preset whose calls bear tokens of Google accounts: the contents of credentials files, "
            "such as `file:/run/secrets/account.json`, one after the other as with `api_keys`. Without any, and "
            "without a key: the application default credentials."
        ),
    ] = []
    variables: Annotated[
        dict[str, VariableValue],
        Meta(description="What the preset's address has gaps for, such as an account's id; see the provider's page."),
    ] = {}
    location: Annotated[
        Location | None,
        Meta(
            description="Where the data goes: `local` for a server on your own network. Without it: what the "
            "preset says, else `remote`."
        ),
    ] = None
    headers: Annotated[
        dict[HeaderName, Secret],
        Meta(description="Headers to send with every request. Their values may be references, as a key may."),
    ] = {}
    options: Annotated[
        dict[str, Any],
        Meta(description="The codec's own options: how this service differs from the usual wire."),
    ] = {}
    always_streams: Annotated[
        bool | None,
        Meta(
            description="Whether to ask for a stream even where the client wants a plain answer. For servers "
            "that notice a lost client only while they stream. Without it: what the preset says, else no."
        ),
    ] = None
    free: Annotated[
        bool | None,
        Meta(
            description="Whether its models cost nothing: `true` puts all of them in the class `free`. Without it: "
            "what is known of each model's price."
        ),
    ] = None
    models: Annotated[
        dict[RemoteModelId, ModelFacts],
        Meta(description="What you know of its models, by the provider's own id; it stands over what is found out."),
    ] = {}
    enabled: Annotated[bool, Meta(description="`false` switches the provider off, also where its variable is set.")] = (
        True
    )


class RouteTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One target of a route, where its name alone does not say enough."""

    model: Annotated[str, Meta(description="The model that is meant, such as `openai/gpt-5-mini`.", min_length=1)]
    weight: Annotated[
        float, Meta(description="Its share of the requests beside the other targets', with `choose: weight`.", gt=0)
    ] = 1.0


Targets: TypeAlias = Annotated[list[RouteTarget | TargetName], Meta(min_length=1)]


class ModelEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that a runner serves on this machine; or, with `targets`, a route: a name for several models, which are
    tried in turn until one answers. The keys of the one kind mean nothing to the other, and are refused there."""

    runner: Annotated[str, Meta(description="What runs it, such as `llama.cpp` or `command`.", min_length=1)] = (
        "llama.cpp"
    )
    weights: Annotated[
        Path | None,
        Meta(
            description="The file to load: `file:/models/qwen.gguf`. A relative path starts at the config "
            "file's folder.",
            extra_json_schema={"pattern": r"^file:|\$\{"},
            extra={"reads": "file_source"},
        ),
    ] = None
    context_tokens: Annotated[
        Positive | None,
        Meta(description="The context of one generation, in tokens. Without it: what the model was made for."),
    ] = None
    slots: Annotated[int, Meta(description="How many generations may run on it at once.", ge=1, le=1024)] = 2
    queue: Annotated[int, Meta(description="How many more may wait for a free slot. One more answers 503.", ge=0)] = 64
    keep_alive_s: Annotated[
        NonNegativeSeconds | None,
        Meta(description="How long it stays in memory unused. Seconds. Without it: the runner's own choice."),
    ] = None
    command: Annotated[
        Words | None,
        Meta(
            description="For `runner: command`: the server's program and its arguments. `{port}` and "
            "`{weights}` are filled in."
        ),
    ] = None
    ready: Annotated[
        UrlPath | None,
        Meta(description="For `runner: command`: the path that answers 200 once the server is ready."),
    ] = None
    codec: Annotated[
        str | None,
        Meta(description="For `runner: command`: the wire that the server speaks, such as `openai`."),
    ] = None
    options: Annotated[dict[str, Any], Meta(description="The runner's own options.")] = {}
    targets: Annotated[
        Targets | None,
        Meta(description="The models that may serve: local models, aliases, other routes, `provider/model`."),
    ] = None
    choose: Annotated[
        Literal["order", "weight", "price", "latency"],
        Meta(
            description="For a route: which target comes first: as they stand, by chance in proportion to their "
            "weights, the cheapest, or the one that lately began to answer soonest."
        ),
    ] = "order"
    location: Annotated[
        Literal["local"] | None,
        Meta(
            description="For a route: `local` promises that no request of this model ever leaves for a remote provider."
        ),
    ] = None
    first_event_s: Annotated[
        PositiveSeconds | None,
        Meta(
            description="For a route: how long a target may take to begin an answer before the next one is tried; "
            "the last one has the usual time. Without it: all of them. Embeddings have no beginning. Seconds."
        ),
    ] = None
    on_context_length: Annotated[
        list[TargetName],
        Meta(
            description="For a route: the models to try where the input is longer than a target's context. Without it: "
            "an error."
        ),
    ] = []
    on_content_filter: Annotated[
        list[TargetName],
        Meta(
            description="For a route: the models to try where a target's content filter refuses. Without it: an error."
        ),
    ] = []

    def target_names(self) -> list[str]:
        """The names of a route's targets, as they stand."""
        return [target if isinstance(target, str) else target.model for target in self.targets or []]

    def runner_options(self) -> dict[str, Any]:
        """All that the runner takes: `options`, and the keys that stand beside it for short."""
        given = {"command": self.command, "ready": self.ready, "codec": self.codec}
        return {**{name: value for name, value in given.items() if value is not None}, **self.options}


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and how long a failed attempt is tried again, before anything of the answer has been sent."""

    attempts: Annotated[
        int,
        Meta(
            description="How often one target is tried, the first time included, where the connection fails or the "
            "provider answers 5xx.",
            ge=1,
            le=10,
        ),
    ] = 2
    max_wait_s: Annotated[
        float,
        Meta(
            description="The longest that one request waits between attempts, all its waits together: back-offs, and "
            "what a provider asks for (Retry-After) once no other target is left. 0: it never waits. Seconds.",
            ge=0,
            le=600,
        ),
    ] = 60
    breaker_failures: Annotated[
        int,
        Meta(description="After how many failures in a row a target rests. 0: never.", ge=0, le=1000),
    ] = 5
    breaker_rest_s: Annotated[
        float,
        Meta(
            description="How long it rests at first; then one request tries it, and each further failure doubles the "
            "rest, up to sixteen times this. Seconds.",
            gt=0,
            le=3600,
        ),
    ] = 10


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. Every key may be left out."""

    version: Annotated[Literal[1], Meta(description="The version of this file's format.")] = 1
    server: Annotated[Server, Meta(description="Where the gateway listens, and what it takes.")] = Server()
    timeouts: Annotated[TimeoutLimits, Meta(description="The longest that a generation may take.")] = TimeoutLimits()
    retry: Annotated[Retry, Meta(description="What happens when a target fails.")] = Retry()
    inputs: Annotated[
        Inputs, Meta(description="Images, files and audio in requests, and what of them is fetched by URL.")
    ] = Inputs()
    log: Annotated[Log, Meta(description="What is logged, and how.")] = Log()
    providers: Annotated[
        dict[ProviderName, Provider],
        Meta(description="Remote services by name. Their models are asked for as `name/model`."),
    ] = {}
    models: Annotated[
        dict[ModelId, ModelEntry | Alias],
        Meta(
            description="Models on this machine by id, aliases (another name for one model), and routes (a name for "
            "several, by `targets`)."
        ),
    ] = {}
    model_folders: Annotated[
        list[Path],
        Meta(description="The folders from which `POST /v1/models` may take `file:` weights. Without one: none."),
    ] = []
    demo: Annotated[
        bool,
        Meta(
            description="Whether to offer the tiny model `demo` that ships with the package. A model of "
            "your own with that id comes before it."
        ),
    ] = True

    def local_models(self) -> list[LocalModel]:
        return [
            LocalModel(
                id=model_id,
                runner=entry.runner,
                weights=str(entry.weights) if entry.weights is not None else None,
                source="file",
                slots=entry.slots,
                queue=entry.queue,
                context_tokens=entry.context_tokens,
                keep_alive_s=entry.keep_alive_s,
                options=entry.runner_options(),
            )
            for model_id, entry in self.models.items()
            if isinstance(entry, ModelEntry) and entry.targets is None
        ]

    def routes(self) -> dict[str, ModelEntry]:
        """Route to its entry."""
        return {
            model_id: entry
            for model_id, entry in self.models.items()
            if isinstance(entry, ModelEntry) and entry.targets is not None
        }

    def aliases(self) -> dict[str, str]:
        """Alias to the one model that it means."""
        return {model_id: entry for model_id, entry in self.models.items() if isinstance(entry, str)}
