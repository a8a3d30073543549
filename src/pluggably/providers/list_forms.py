"""How providers tell of their models: the bytes of a list in, what is told of each model out. No I/O.

Nearly all lists look like OpenAI's, `{"data": [{"id": …}]}`, and vendors put further facts beside the id, under a
handful of names that they share. So there is one reader for facts, `_described`, and a form (`FORMS`) only adds what
vendors do not share: the unit of their prices (`list_prices`), another name for the id, how a further page is asked
for.

What surprises: the form `openai` reads no price. The same two words, `prompt` and `completion`, are dollars a token
at one vendor and dollars a million at another, so a price is read only where the vendor says its unit. And a fact that
is not told stays None: a list that is silent on tools does not say that there are none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, TypeAlias, TypeGuard, get_args
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct

from pluggably.domain.catalog import Capabilities, InputModality, Price, RemoteModel
from pluggably.domain.generation import Modality
from pluggably.errors import BackendInvalidResponse
from pluggably.providers.list_prices import (
    A_MILLION,
    Entry,
    Quote,
    cloudflare_quote,
    novita_quote,
    openrouter_quote,
    properties,
    quoted,
    together_quote,
    vercel_quote,
    xai_quote,
)

# Far above the longest list known (OpenRouter: under a thousand); what lies beyond is left out.
MAX_MODELS = 20_000
MAX_ID_CHARS = 512
MAX_NAME_CHARS = 200
# Under which name a list stands; the last three are the clouds'.
_LISTS = ("data", "models", "result", "modelSummaries", "inferenceProfileSummaries", "publisherModels")

Path: TypeAlias = tuple[str, ...]


class Listed(Struct, frozen=True):
    """One model of a list. `rates_vary`: its price holds for short inputs only, or is not all there is to pay, so no
    cost follows from it. `like`: the id of another that is listed, whose facts are also those of this one. `hidden`:
    nothing can be asked for by this id; it is there for those that are like it."""

    model: RemoteModel
    rates_vary: bool = False
    like: str | None = None
    hidden: bool = False


class Page(Struct, frozen=True):
    """What one answer told. `next` is the query that asks for the next page, `lost` how many entries said nothing that
    could be used."""

    models: list[Listed]
    next: dict[str, str]
    lost: int


def read(form: str, content: bytes) -> Page:
    """Reads one answer. A broken entry loses only itself. Raises: BackendInvalidResponse where it is no list at all;
    KeyError for a form that does not exist."""
    reader = FORMS[form]
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BackendInvalidResponse("The provider's list of models is not JSON.") from error
    entries = _entries(document)
    if entries is None:
        raise BackendInvalidResponse("The provider's answer holds no list of models.")
    models: dict[str, Listed] = {}
    lost = max(0, len(entries) - MAX_MODELS)
    for entry in entries[:MAX_MODELS]:
        model_id = reader.model_id(entry) if isinstance(entry, dict) else None
        if not _is_id(model_id):
            lost += 1
        elif not _is_off(entry):
            models.setdefault(model_id, reader.read(model_id, entry))
    more = reader.next(document) if reader.next is not None and isinstance(document, dict) else {}
    return Page(list(models.values()), more, lost)


def joined(listed: dict[str, Listed]) -> dict[str, Listed]:
    """The models of all of a vendor's lists together: each with the facts that it shares, the hidden ones left out."""
    return {model: _with_shared(one, listed) for model, one in listed.items() if not one.hidden}


def _with_shared(one: Listed, listed: dict[str, Listed]) -> Listed:
    like = listed.get(one.like) if one.like is not None else None
    if like is None:
        return one
    shared = msgspec.structs.replace(like.model, id=one.model.id, name=one.model.name or like.model.name)
    return Listed(shared, like.rates_vary)


def _entries(document: Any) -> list[Any] | None:
    """The list itself, where Together puts it, or under one of the names in use."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    return next((document[key] for key in _LISTS if isinstance(document.get(key), list)), None)


def _is_id(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and value.isprintable() and value == value.strip()


def _is_off(entry: Entry) -> bool:
    """Groq's `active`."""
    return entry.get("active") is False


# ── facts, by the names that vendors share ──────────────────────────────────────────────────────────────────────────

_NAME: tuple[Path, ...] = (("display_name",), ("displayName",), ("title",), ("name",))

# The first that is told counts; what one request may really use comes before what the model was made for.
_CONTEXT: tuple[Path, ...] = (
    ("loaded_context_length",),  # LM Studio
    ("context_length",),
    ("context_window",),
    ("max_model_len",),  # vLLM, SGLang
    ("max_context_length",),  # Mistral, LM Studio
    ("context_size",),  # Novita
    ("contextLength",),  # Fireworks
    ("meta", "n_ctx"),  # llama.cpp
    ("meta", "n_ctx_train"),
    ("max_input_tokens",),  # Anthropic
    ("max_prompt_length",),  # xAI
    ("inputTokenLimit",),  # Google
    ("top_provider", "context_length"),
)

_MAX_OUTPUT: tuple[Path, ...] = (
    ("max_completion_tokens",),
    ("max_output_tokens",),
    ("max_output_length",),
    ("top_provider", "max_completion_tokens"),  # OpenRouter
    ("outputTokenLimit",),
)

_TOOLS: tuple[Path, ...] = (
    ("supports_tools",), ("supportsTools",), ("supports_function_calling",), ("capabilities", "function_calling"),
)  # fmt: skip
_JSON_SCHEMA: tuple[Path, ...] = (
    ("supports_structured_output",), ("supports_json_schema",), ("capabilities", "structured_outputs"),
)  # fmt: skip
_REASONING: tuple[Path, ...] = (
    ("supports_reasoning",), ("capabilities", "reasoning"), ("capabilities", "thinking"), ("thinking",),
)  # fmt: skip
_IMAGE_INPUT: tuple[Path, ...] = (
    ("supports_image_in",), ("supports_image_input",), ("supportsImageInput",), ("supports_vision",),
    ("capabilities", "vision"), ("capabilities", "image_input"),
)  # fmt: skip
_AUDIO_INPUT: tuple[Path, ...] = (("capabilities", "audio"),)
_FILE_INPUT: tuple[Path, ...] = (("capabilities", "pdf_input"),)

# Lists of words: what a model supports, under names that differ in their dashes only.
_WORD_LISTS: tuple[Path, ...] = (("supported_parameters",), ("supported_features",), ("capabilities",), ("tags",))
_TOOL_WORDS = {"tools", "tool_choice", "tool_use", "tool_calling", "tool_call", "function_calling"}
_JSON_SCHEMA_WORDS = {"structured_outputs", "structured_output", "json_schema"}
_REASONING_WORDS = {"reasoning", "include_reasoning", "reasoning_effort", "thinking"}
_IMAGE_WORDS = {"vision", "multimodal"}
_FILE_WORDS = {"file_input"}

_INPUTS: dict[str, InputModality] = {name: name for name in get_args(InputModality)} | {"pdf": "file"}
_OUTPUTS: dict[str, Modality] = {name: name for name in get_args(Modality)} | {"embeddings": "embedding"}
# What kind of model it is, where a list says that and no modalities. Nothing: it makes nothing that can be asked for.
_KINDS: dict[str, tuple[Modality, ...]] = {
    **dict.fromkeys(("chat", "language", "code", "llm", "vlm", "text", "text_generation"), ("text",)),
    **dict.fromkeys(("embedding", "embeddings", "text_embeddings"), ("embedding",)),
    **dict.fromkeys(
        (
            "image", "video", "audio", "rerank", "reranking", "moderation", "transcribe", "tts", "asr", "stt",
            "text_to_image", "text_to_speech", "automatic_speech_recognition", "image_generation",
        ),
        (),
    ),
}  # fmt: skip
# What can be asked of a model at Google, in lower case.
_METHODS: dict[str, Modality] = {"generatecontent": "text", "embedcontent": "embedding"}


def _described(model_id: str, entry: Entry, price: Price | None = None) -> RemoteModel:
    """Everything that an entry tells under a name that we know."""
    words = _words(entry)
    return RemoteModel(
        id=model_id,
        name=_name(entry, model_id),
        price=price,
        context_tokens=_count(entry, _CONTEXT),
        max_output_tokens=_count(entry, _MAX_OUTPUT),
        input_modalities=_inputs(entry, words),
        output_modalities=_outputs(entry),
        capabilities=_capabilities(entry, words),
    )


def _capabilities(entry: Entry, words: set[str]) -> Capabilities:
    tools, json_schema, reasoning = (_flag(entry, paths) for paths in (_TOOLS, _JSON_SCHEMA, _REASONING))
    # OpenRouter's list of parameters is whole: what is not in it is not supported. Other lists of words are not.
    whole = bool(entry.get("supported_parameters")) and isinstance(entry["supported_parameters"], list)
    absent = False if whole else None
    # `response_format` alone is JSON mode at some vendors, and more at others.
    no_schema = None if "response_format" in words else absent
    return Capabilities(
        streaming=True if "streaming" in words else None,
        tools=tools if tools is not None else (True if words & _TOOL_WORDS else absent),
        json_schema=json_schema if json_schema is not None else (True if words & _JSON_SCHEMA_WORDS else no_schema),
        reasoning=reasoning if reasoning is not None else (True if words & _REASONING_WORDS else absent),
    )


def _inputs(entry: Entry, words: set[str]) -> tuple[InputModality, ...] | None:
    told = _strings(entry, (("architecture", "input_modalities"), ("input_modalities",)))
    if told is None:
        told = _arrow(entry, 0)
    if told is not None:
        return tuple(dict.fromkeys(_INPUTS[word] for word in told if word in _INPUTS)) or None
    image, audio, file = (_flag(entry, paths) for paths in (_IMAGE_INPUT, _AUDIO_INPUT, _FILE_INPUT))
    if image is None and (words & _IMAGE_WORDS or entry.get("type") == "vlm"):
        image = True
    if file is None and words & _FILE_WORDS:
        file = True
    if image is None and audio is None and file is None:
        return None
    given: list[tuple[InputModality, bool | None]] = [
        ("text", True),
        ("image", image),
        ("file", file),
        ("audio", audio),
    ]
    return tuple(modality for modality, has in given if has)


def _outputs(entry: Entry) -> tuple[Modality, ...] | None:
    told = _strings(entry, (("architecture", "output_modalities"), ("output_modalities",)))
    if told is None:
        told = _arrow(entry, 1)
    if told is not None:
        return tuple(dict.fromkeys(_OUTPUTS[word] for word in told if word in _OUTPUTS))
    methods = _strings(entry, (("supportedGenerationMethods",),))
    if methods is not None:
        return tuple(dict.fromkeys(_METHODS[method] for method in methods if method in _METHODS))
    kind = entry.get("type") or _at(entry, ("task", "name"))
    return _KINDS.get(_word(kind)) if isinstance(kind, str) else None


def _arrow(entry: Entry, side: int) -> list[str] | None:
    """One side of `text+image->text`."""
    modality = _at(entry, ("architecture", "modality"))
    if not isinstance(modality, str) or modality.count("->") != 1:
        return None
    return modality.lower().split("->")[side].split("+")


def _name(entry: Entry, model_id: str) -> str | None:
    for path in _NAME:
        value = _at(entry, path)
        if isinstance(value, str) and value.strip():
            name = " ".join(value.split())[:MAX_NAME_CHARS]
            return name if name != model_id and name.isprintable() else None
    return None


def _words(entry: Entry) -> set[str]:
    found = (_at(entry, path) for path in _WORD_LISTS)
    return {_word(word) for words in found if isinstance(words, list) for word in words if isinstance(word, str)}


def _word(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")


def _strings(entry: Entry, paths: Iterable[Path]) -> list[str] | None:
    for path in paths:
        value = _at(entry, path)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return [item.lower() for item in value]
    return None


def _flag(entry: Entry, paths: Iterable[Path]) -> bool | None:
    """A yes or no; Anthropic's `{"supported": …}` is one, too."""
    for path in paths:
        value = _at(entry, path)
        if isinstance(value, dict):
            value = value.get("supported")
        if isinstance(value, bool):
            return value
    return None


def _count(entry: Entry, paths: Iterable[Path]) -> int | None:
    """A number of tokens; a vendor's 0 means that it does not know."""
    for path in paths:
        value = _at(entry, path)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53:
            return value
    return None


def _at(entry: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(entry, dict):
            return None
        entry = entry.get(key)
    return entry


# ── the vendors that name things in their own way ───────────────────────────────────────────────────────────────────


def _cloudflare(model_id: str, entry: Entry) -> Listed:
    """Facts stand as `{"property_id", "value"}`, their values as text."""
    told = properties(entry)
    plain: Entry = {"task": entry.get("task")}
    if isinstance(told.get("context_window"), str) and told["context_window"].isdecimal():
        plain["context_window"] = int(told["context_window"][:15])
    for name, flag in (
        ("function_calling", "supports_tools"),
        ("reasoning", "supports_reasoning"),
        ("vision", "supports_vision"),
    ):
        if told.get(name) in ("true", "false"):
            plain[flag] = told[name] == "true"
    return Listed(_described(model_id, plain, cloudflare_quote(entry).price))


def _huggingface(model_id: str, entry: Entry) -> Listed:
    """A router: each model has several providers, and which of them answers is the router's choice. So a fact is known
    where all that are live agree, and the context is the shortest."""
    found = entry.get("providers")
    rows = [row for row in (found if isinstance(found, list) else []) if isinstance(row, dict)]
    live = [row for row in rows if row.get("status") == "live"]
    quotes = {quoted(row.get("pricing"), ("input", "", "output"), A_MILLION) for row in live}
    contexts = [_count(row, _CONTEXT) for row in live]
    known = [context for context in contexts if context is not None]
    plain = {
        "architecture": entry.get("architecture"),
        "context_length": min(known) if known and len(known) == len(live) else None,
        "supports_tools": _agreed(live, "supports_tools"),
        "supports_structured_output": _agreed(live, "supports_structured_output"),
    }
    return Listed(_described(model_id, plain, quotes.pop().price if len(quotes) == 1 else None))


def _agreed(rows: list[Entry], name: str) -> bool | None:
    values = {row.get(name) for row in rows if isinstance(row.get(name), bool | None)}
    return values.pop() if len(values) == 1 else None


def _cohere(model_id: str, entry: Entry) -> Listed:
    """What a model is for stands in `endpoints`, what it can in `features`."""
    found = _strings(entry, (("endpoints",),)) or []
    kind = "chat" if "chat" in found else "embedding" if "embed" in found else "rerank" if "rerank" in found else None
    plain = {"type": kind, "context_length": entry.get("context_length"), "supported_features": entry.get("features")}
    return Listed(_described(model_id, plain))


# Of Bedrock's models that are listed as making text or embeddings: those that take bodies of their own.
_BEDROCK_UNASKED = re.compile(r"\brerank\b")
_BEDROCK_EMBEDDING = re.compile(r"\b(amazon\.titan-embed-text|cohere\.embed)\b")


def _bedrock(model_id: str, entry: Entry) -> Listed:
    """A model that is not to be had `ON_DEMAND` is asked by the id of a profile, which is in another list."""
    model = _described(
        model_id,
        {
            "name": entry.get("modelName"),
            "input_modalities": entry.get("inputModalities"),
            "output_modalities": entry.get("outputModalities"),
        },
    )
    streams = entry.get("responseStreamingSupported")
    made = model.output_modalities or ()
    # What takes no text is asked in no way that Converse has; and of embeddings, see `wire.codecs.bedrock.request`.
    takes = _strings(entry, (("inputModalities",),))
    if _BEDROCK_UNASKED.search(model_id) or (takes is not None and "text" not in takes):
        made = ()
    if not _BEDROCK_EMBEDDING.search(model_id):
        made = tuple(modality for modality in made if modality != "embedding")
    model = msgspec.structs.replace(
        model,
        output_modalities=None if model.output_modalities is None else made,
        capabilities=Capabilities(streaming=streams if isinstance(streams, bool) else None),
    )
    ways = _strings(entry, (("inferenceTypesSupported",),))
    return Listed(model, hidden=ways is not None and "on_demand" not in ways)


def _bedrock_profile(model_id: str, entry: Entry) -> Listed:
    """A profile routes to one model in several regions. Those of an account itself are asked by their ARN, which names
    the account: they are for the operator to name, not to be listed."""
    models = entry.get("models")
    first = models[0] if isinstance(models, list) and models else None
    arn = _at(first, ("modelArn",))
    return Listed(
        RemoteModel(id=model_id, name=_name({"name": entry.get("inferenceProfileName")}, model_id)),
        like=arn.rpartition("/")[2] if isinstance(arn, str) else None,
        hidden=entry.get("type") == "APPLICATION" or entry.get("status", "ACTIVE") != "ACTIVE",
    )


def _vertex(model_id: str, entry: Entry) -> Listed:
    """`publishers/google/models/gemini-2.5-flash`. Another publisher's model is asked with its version, where that is a
    date. What has to be deployed first is asked in another way, if at all."""
    publisher, _, name = model_id.removeprefix("publishers/").partition("/models/")
    version = entry.get("versionId")
    if publisher != "google" and isinstance(version, str) and re.fullmatch(r"\d{8}", version):
        name += f"@{version}"
    actions = entry.get("supportedActions")
    is_weights = isinstance(actions, dict) and ("deploy" in actions or "multiDeployVertex" in actions)
    return Listed(RemoteModel(id=name or model_id), hidden=is_weights)


def _pluggably(model_id: str, entry: Entry) -> Listed:
    """Another gateway: its facts have our own form. What it does not charge for is free."""
    told = entry.get("price")
    names = ("input_per_million", "cached_input_per_million", "output_per_million")
    quote = quoted(told, names, Decimal(1)) if isinstance(told, dict) else Quote()
    model = _described(model_id, entry, quote.price)
    flags = {name: _flag(entry, (("capabilities", name),)) for name in Capabilities.__struct_fields__}
    free = entry.get("free")
    return Listed(
        msgspec.structs.replace(
            model,
            free=free if isinstance(free, bool) else None,
            context_tokens=_count(entry, (("context_tokens",),)),
            capabilities=Capabilities(**flags),
        ),
        quote.rates_vary,
    )


def _with_max_tokens(model_id: str, entry: Entry) -> Listed:
    """Anthropic and Vercel call the longest answer `max_tokens`, which is the context elsewhere."""
    quote = vercel_quote(entry)
    return Listed(
        _described(model_id, {"max_output_tokens": entry.get("max_tokens"), **entry}, quote.price), quote.rates_vary
    )


# ── further pages ───────────────────────────────────────────────────────────────────────────────────────────────────


def _cursor(name: str, parameter: str) -> Callable[[Entry], dict[str, str]]:
    def follow(document: Entry) -> dict[str, str]:
        value = document.get(name)
        return {parameter: value} if isinstance(value, str) and 0 < len(value) <= 4096 else {}

    return follow


def _after_last_id(document: Entry) -> dict[str, str]:
    last = document.get("last_id")
    return {"after_id": last} if document.get("has_more") is True and _is_id(last) else {}


def _linked(document: Entry) -> dict[str, str]:
    """Only the query of the link: a list never sends a credential to another address."""
    link = _at(document, ("links", "next"))
    try:
        return dict(parse_qsl(urlsplit(link).query)) if isinstance(link, str) else {}
    except ValueError:
        return {}


def _numbered(document: Entry) -> dict[str, str]:
    page, size, total = (_count(document, [("result_info", name)]) for name in ("page", "per_page", "total_count"))
    return {"page": str(page + 1)} if page and size and total and page * size < total else {}


# ── the forms ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Form(Struct, frozen=True, kw_only=True):
    """One way to list models. `ids` are the names of the id, in the order of preference."""

    ids: tuple[str, ...] = ("id",)
    prefix: str = ""
    quote: Callable[[Entry], Quote] | None = None
    reads: Callable[[str, Entry], Listed] | None = None
    next: Callable[[Entry], dict[str, str]] | None = None

    def model_id(self, entry: Entry) -> Any:
        """The id under which the provider takes requests."""
        value = next((entry[name] for name in self.ids if entry.get(name)), None)
        return value.removeprefix(self.prefix) if isinstance(value, str) else value

    def read(self, model_id: str, entry: Entry) -> Listed:
        if self.reads is not None:
            return self.reads(model_id, entry)
        quote = self.quote(entry) if self.quote is not None else Quote()
        return Listed(_described(model_id, entry, quote.price), quote.rates_vary)


# Each with the page that documents it, read 2026-11. What a vendor's row in the presets should name, and with which
# path, is in the row.
FORMS: dict[str, Form] = {
    # developers.openai.com/api/reference/resources/models; with Groq's context_window, max_completion_tokens and active
    # (console.groq.com/docs/api-reference), Mistral's capabilities and max_context_length (docs.mistral.ai/api),
    # Moonshot's supports_… (platform.moonshot.ai/docs/api), vLLM's max_model_len, llama.cpp's meta
    # (tools/server/README.md), and type, max_context_length, capabilities of LM Studio (lmstudio.ai/docs/api/rest-api).
    "openai": Form(),
    # openrouter.ai/docs/models: "All pricing values are in USD per token"; also SambaNova ("price per prompt token in
    # USD": docs.sambanova.ai, "Get environment's available model list metadata"), Nebius with verbose=true, Baseten.
    "openrouter": Form(quote=openrouter_quote, next=_linked),
    # vercel.com/docs/ai-gateway/sdks-and-apis/rest-api
    "vercel": Form(reads=_with_max_tokens),
    # github.com/togethercomputer/openapi, ModelInfo
    "together": Form(quote=together_quote),
    # novita.ai/docs/api-reference/model-apis-llm-list-models
    "novita": Form(quote=novita_quote),
    # docs.x.ai/developers/rest-api-reference/inference/models: "in USD cents per 100 million tokens"
    "xai": Form(quote=xai_quote),
    # huggingface.co/docs/inference-providers/hub-api, and the router's own answer
    "huggingface": Form(reads=_huggingface),
    # docs.fireworks.ai/api-reference/list-models
    "fireworks": Form(ids=("name",), next=_cursor("nextPageToken", "pageToken")),
    # developers.cloudflare.com/api/resources/ai/subresources/models
    "cloudflare": Form(ids=("name",), reads=_cloudflare, next=_numbered),
    # docs.cohere.com/reference/list-models
    "cohere": Form(ids=("name",), reads=_cohere, next=_cursor("next_page_token", "page_token")),
    # platform.claude.com/docs/en/api/models/list
    "anthropic": Form(reads=_with_max_tokens, next=_after_last_id),
    # ai.google.dev/api/models: names are `models/…`, requests take them without it
    "google": Form(ids=("name",), prefix="models/", next=_cursor("nextPageToken", "pageToken")),
    # docs.ollama.com/api/tags
    "ollama": Form(ids=("model", "name")),
    # docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html and …_FoundationModelSummary.html
    "bedrock": Form(ids=("modelId",), reads=_bedrock),
    # …/APIReference/API_ListInferenceProfiles.html and …_InferenceProfileSummary.html
    "bedrock-profiles": Form(
        ids=("inferenceProfileId",), reads=_bedrock_profile, next=_cursor("nextToken", "nextToken")
    ),
    # docs.cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/publishers.models, and what it lists (2026-10)
    "vertex": Form(ids=("name",), reads=_vertex, next=_cursor("nextPageToken", "pageToken")),
    # docs/reference/api.md of this project: `GET /v1/models`
    "pluggably": Form(reads=_pluggably, next=_cursor("next_cursor", "cursor")),
}
