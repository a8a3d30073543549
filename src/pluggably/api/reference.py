"""What the reference of the API says and the types cannot: notes, errors, meanings of fields, and examples.

Everything here is keyed by a row of the route table (`Route.template`) or by the name of a struct; a test holds that
each key stands for something, that every field is explained, and that every example fits its schema. Prose is
Markdown of the plainest kind: backticks, and paragraphs that an empty line parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendTimeout,
    Conflict,
    ContentFiltered,
    ContextLengthExceeded,
    InputUrlRefused,
    InputUrlUnreachable,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    NotAcceptable,
    NotFound,
    Overloaded,
    PermissionDenied,
    PluggablyError,
    ShuttingDown,
    Unauthenticated,
    UnsupportedModality,
    UnsupportedParameter,
)

INTRODUCTION = """\
One HTTP API in front of many generative models, on this machine and at providers.

JSON in UTF-8, `snake_case`; times are RFC 3339 in UTC, sizes are in bytes, durations in seconds (`_s`), money is US \
dollars as decimal strings. Ids carry a prefix: `gen_`, `key_`, `req_`. In a request an unknown field is an error. In \
an answer, ignore fields, events, item types and enum values that you do not know: there will be more. `null` means \
unknown, never zero or no.

Send a key as `Authorization: Bearer <key>` or as `X-API-Key: <key>`; `pluggably keys create` makes one. Every \
response carries `X-Request-Id`: yours, if you sent a sane one, else one that the gateway made. Lists are \
`{"data": [], "next_cursor": null}`; give `next_cursor` back as `cursor` for the next page."""

TAGS: Mapping[str, str] = {
    "Generations": "Ask a model for something: one verb for every kind of model, wherever it runs.",
    "Models": "What can be asked for, what is loaded, and registering models through the API.",
    "Keys": "Who may do what.",
    "Operations": "For load balancers, service managers and Prometheus.",
    "Documents": "This reference, for machines and for people.",
}

SCOPES: Mapping[str, str] = {
    "generate": "ask models for something",
    "models:read": "see models and their processes",
    "models:write": "register, load, unload and remove models",
    "metrics": "read the metrics",
    "admin": "everything, keys included",
}

NOTES: Mapping[str, str] = {
    "POST /v1/generations": """\
The answer is one `Generation`, or, with `stream: true`, a stream of events (`text/event-stream`) that ends in the \
same `Generation`.

A hint that the chosen backend cannot honour (temperature, top_k, seed, penalties) is dropped, or sent in another \
form, and told in `warnings`; with `on_unsupported: "error"` it is refused. What changes the meaning (tools, a JSON \
schema, a modality) is never dropped. The items of an `output` are legal parts of an assistant message, word for word, \
so a conversation goes on by appending them.

When the client goes away, the call to the backend is cancelled.""",
    "GET /v1/models": "Local models and aliases, by id. A model at a provider is named `<provider>/<its id there>`.",
    "POST /v1/models": """\
Makes a file on the gateway's machine a model. The file must lie in a folder that the operator allows. A model that \
runs a command of its own can only come from the config file.""",
    "POST /v1/models/load": "Starts the model's process and answers once it can serve.",
    "POST /v1/models/unload": "Ends the model's process. The next request for the model starts it again.",
    "GET /v1/models/{id}": "The id is the rest of the path, slashes included.",
    "DELETE /v1/models/{id}": """\
Forgets a model that the API registered; its file stays. What the config file defines answers 409, and so does a \
model that is running, unless `force=true`.""",
    "GET /v1/workers": "The processes that serve local models: state, memory, slots and queue.",
    "GET /v1/me": "The key's own id, name and scopes: a cheap way to see whether a key is valid.",
    "GET /v1/keys": "Every key, without its secret.",
    "POST /v1/keys": "The answer holds the secret, which is shown this once and kept nowhere.",
    "DELETE /v1/keys/{id}": "Works at once: the next request with this key is refused. A key cannot revoke itself.",
    "GET /healthz": "Answers 200 as long as the process answers at all. For restarting what hangs.",
    "GET /readyz": "Answers 200 when requests can be served, else 503. For taking a gateway out of rotation.",
    "GET /metrics": "Needs a key with the scope `metrics`, unless the operator opened it in the config.",
    "GET /openapi.json": "The document that you are reading.",
    "GET /docs": "The same as a page.",
}

Errors = tuple[type[PluggablyError], ...]

# What an operation can answer beside what follows from its row in the route table.
ERRORS: Mapping[str, Errors] = {
    "POST /v1/generations": (
        UnsupportedParameter,
        UnsupportedModality,
        ContextLengthExceeded,
        ContentFiltered,
        InputUrlRefused,
        InputUrlUnreachable,
        ModelNotFound,
        NotAcceptable,
        BackendRateLimited,
        BackendError,
        BackendAuthenticationFailed,
        BackendQuotaExhausted,
        BackendInvalidResponse,
        Overloaded,
        ModelUnavailable,
        ShuttingDown,
        BackendTimeout,
    ),
    "POST /v1/models": (PermissionDenied, Conflict, ModelUnavailable),
    "POST /v1/models/load": (ModelNotFound, Overloaded, ModelUnavailable, ShuttingDown),
    "POST /v1/models/unload": (ModelNotFound,),
    "GET /v1/models/{id}": (ModelNotFound,),
    "DELETE /v1/models/{id}": (InvalidRequest, ModelNotFound, Conflict),
    "DELETE /v1/keys/{id}": (NotFound, Conflict),
    "GET /readyz": (ShuttingDown,),
    "GET /metrics": (Unauthenticated, PermissionDenied),
}

# code → what the one who gets it can do.
ADVICE: Mapping[str, str] = {
    "invalid_request": "Mend what `errors` lists; each has a JSON pointer into the body.",
    "unsupported_parameter": "Leave out what `pointer` names, or choose a model that honours it.",
    "unsupported_modality": "Choose a model whose `input_modalities` and `output_modalities` fit (`GET /v1/models`).",
    "context_length_exceeded": "Shorten the input, lower `max_output_tokens`, or choose a model with a longer context.",
    "content_filtered": "Change the input; the provider will refuse it again.",
    "input_url_refused": "Give a public http or https URL without a user name, or the content itself as `data`.",
    "input_url_unreachable": "Check that the URL opens without a sign-in, or give the content itself as `data`.",
    "unauthenticated": "Send a key that is known, not revoked and not expired.",
    "permission_denied": "Use a key with the scope that `detail` names.",
    "not_found": "Look at the path and the id.",
    "model_not_found": "`GET /v1/models` lists what there is; a provider's models are `<provider>/<id>`.",
    "method_not_allowed": "Use a method that the header `Allow` names.",
    "not_acceptable": "Accept `application/json`, and `text/event-stream` for streams.",
    "request_timeout": "Send the whole request without pauses; then try again.",
    "conflict": "Look at what is there; `detail` says what is in the way.",
    "payload_too_large": "Send less, or ask the operator for a higher limit (`server.max_body_bytes`, `inputs`).",
    "unsupported_media_type": "Send JSON, with `Content-Type: application/json` and no `Content-Encoding`. With a "
    "`pointer`: the part there holds something else than its `type` says.",
    "headers_too_large": "Send fewer or shorter headers, and keep what is long out of the URL.",
    "internal_error": "Tell the operator the `request_id`: the log has the cause under it.",
    "overloaded": "Try again after `Retry-After` seconds, with fewer requests at a time.",
    "model_unavailable": "`detail` says what is missing; `GET /v1/models/{id}` shows when it is there.",
    "shutting_down": "Try again after `Retry-After` seconds, or at another gateway.",
    "insufficient_storage": "The operator has to make room.",
    "backend_error": "Try again, or another model; `backend_status` and `backend_code` are the backend's own words.",
    "backend_rate_limited": "Try again after `Retry-After` seconds.",
    "backend_authentication_failed": "The operator has to mend the provider's credential in the config.",
    "backend_quota_exhausted": "The operator has to add credit at the provider.",
    "backend_invalid_response": "Try again; if it stays, the backend does not speak the wire it is configured for.",
    "backend_timeout": "Try again, ask for less, or raise `timeouts`.",
}

_PROVIDER_OPTIONS = "By the provider's name: what is passed to it as it is, and ignored by every other."
_MEDIA = {
    "url": "An `https://` or `http://` address, instead of `data`. The gateway fetches it for a backend that does not.",
    "data": "The bytes in base64, with `media_type`, instead of `url`.",
    "media_type": "Such as `image/png`; required beside `data`. The content decides where the two differ.",
    "provider_options": _PROVIDER_OPTIONS,
}
_KEY = {
    "id": "Names the key in lists, logs and usage; not a secret.",
    "name": "What the key is for.",
    "scopes": "What the key may do.",
    "location": "`local` keeps what is sent with it here and on the operator's own network; null does not.",
    "created_at": "When it was made.",
    "expires_at": "When it stops working; null is never.",
}
_PAGE = {"data": "The entries, by id.", "next_cursor": "Asks for the next page as `cursor`; null on the last."}
_ITEM = {"index": "Which item of the output, from 0."}
_USAGE = {
    "input_tokens": "Tokens of the input, cached ones included.",
    "cached_input_tokens": "Those of them that came from a cache.",
    "output_tokens": "Tokens of the output, reasoning included.",
    "reasoning_tokens": "Those of them that were reasoning.",
}

# struct → field → what it means.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "GenerationBody": {
        "model": "The id of a model, an alias that the operator defined, or `<provider>/<its id there>`.",
        "input": "A string or a list of messages, with at most 20,000 messages and parts in all; for embeddings a "
        "string or a list of strings. Never empty.",
        "modality": "What is to come out; null is text where the model makes it, else what the model makes.",
        "parameters": "How to generate, typed by the modality: those of text, or those of embeddings.",
        "tools": "Functions that the model may ask you to call.",
        "tool_choice": "Whether it may (`auto`), must not (`none`) or must (`required`) call one; or which to call.",
        "parallel_tool_calls": "Whether it may call several at once; null leaves it to the backend.",
        "response_format": "The form of the text: free, any JSON, or JSON that obeys a schema. null is free text.",
        "routing": "Where the request may go.",
        "timeouts": "Limits in seconds, below the operator's own.",
        "provider_options": _PROVIDER_OPTIONS,
        "on_unsupported": "What to do with a hint that the backend cannot honour as it stands: drop or change it and "
        "warn, or refuse.",
        "stream": "Answer as a stream of events.",
        "background": "Not part of this version: only false is taken.",
        "keep_alive_s": "How long a local model stays loaded afterwards; null is the operator's default.",
        "metadata": "Your own strings, handed back with the answer.",
    },
    "TextParameters": {
        "max_output_tokens": "The most tokens to generate.",
        "temperature": "0 takes the likeliest token; higher is more varied.",
        "top_p": "Chooses among the likeliest tokens that together have this probability.",
        "top_k": "Chooses among this many of the likeliest tokens.",
        "min_p": "Leaves out tokens that have less than this share of the likeliest one's probability.",
        "stop": "Strings that end the text; none of them is part of it.",
        "seed": "The same seed and request give the same text, where the backend can.",
        "presence_penalty": "Above 0 makes tokens that came before less likely.",
        "frequency_penalty": "The same, by how often they came.",
        "reasoning": "How much to think first.",
        "logprobs": "How many alternatives to tell for each token, with their log probabilities.",
    },
    "EmbeddingParameters": {"dimensions": "The length of the vectors; null is the model's own."},
    "ReasoningParameters": {"effort": "From no thinking to the most."},
    "Timeouts": {
        "first_event_s": "Until the backend's first output. Embeddings have none: `total_s` is their limit.",
        "idle_s": "Between two pieces of output.",
        "total_s": "For the whole of it.",
    },
    "Routing": {
        "only": "Nothing but these may serve; null is anything.",
        "ignore": "These may not serve.",
        "order": "These first, in this order; the others after them.",
        "sort": "The cheapest first, or the one that lately began to answer soonest; null is the operator's choice.",
        "fallbacks": "Whether another target may be tried where the first one fails.",
    },
    "Message": {
        "role": "Who speaks.",
        "content": "A string, or parts. A message of the role `tool` holds `tool_result` parts.",
        "provider_options": _PROVIDER_OPTIONS,
    },
    "Text": {
        "text": "The text.",
        "annotations": "What a backend noted about the text, such as citations.",
        "logprobs": "One entry a token, where `logprobs` was asked for.",
        "provider_options": _PROVIDER_OPTIONS,
    },
    "TokenLogprob": {
        "token": "The token as text.",
        "logprob": "The natural logarithm of its probability.",
        "top": "The likeliest tokens in its place.",
    },
    "AlternativeToken": {
        "token": "The token as text.",
        "logprob": "The natural logarithm of its probability.",
    },
    "Image": _MEDIA,
    "File": {**_MEDIA, "name": "The file's name, for the model to see."},
    "Audio": _MEDIA,
    "ToolCall": {
        "id": "Ties the call to its result.",
        "name": "The tool's name.",
        "arguments": "The JSON text as the model wrote it; parse it with care.",
        "provider_options": _PROVIDER_OPTIONS,
    },
    "ToolResult": {
        "tool_call_id": "The id of the call that this answers.",
        "content": "What the tool gave: a string, or parts.",
        "is_error": "Whether the tool failed.",
        "provider_options": _PROVIDER_OPTIONS,
    },
    "Reasoning": {
        "text": "The thoughts as text; null where the provider keeps them to itself.",
        "provider_state": "Opaque; hand it back unchanged.",
        "provider_options": _PROVIDER_OPTIONS,
    },
    "ProviderState": {"provider": "Whose it is.", "data": "Opaque."},
    "Refusal": {
        "text": "What is said in place of an answer: the model declines, or a filter tells why.",
        "provider_options": _PROVIDER_OPTIONS,
    },
    "ProviderItem": {"provider": "Whose it is.", "data": "The block as the vendor sent it."},
    "Embedding": {"vector": "The embedding.", "input_index": "Which of the inputs it belongs to, from 0."},
    "Tool": {
        "name": "What the model calls it.",
        "description": "What it does and when to use it, for the model to read.",
        "input_schema": "A JSON Schema of its arguments.",
        "provider_options": _PROVIDER_OPTIONS,
    },
    "NamedTool": {"name": "The name of the tool to call, one of `tools`."},
    "JsonSchemaFormat": {
        "name": "A name for the schema, which some backends show to the model.",
        "schema": "The JSON Schema.",
        "strict": "Whether the backend must guarantee that the text obeys it.",
    },
    "Generation": {
        "id": "The generation's id.",
        "object": "Always `generation`.",
        "status": "How it stands.",
        "modality": "What comes out.",
        "model": "The model as it was asked for.",
        "served_by": "What served it; null until that is final.",
        "attempts": "The targets that were tried before and failed.",
        "created_at": "When the request came.",
        "started_at": "When the first output came; null before.",
        "completed_at": "When it ended, well or not; null before.",
        "expires_at": "When it is forgotten; null for one that is not kept.",
        "output": "The items, in order.",
        "finish_reason": "Who ended it: the model (`stop`, `tool_calls`), a limit (`length`), a filter "
        "(`content_filter`), whoever asked (`cancelled`), or an `error`; null while it runs.",
        "usage": "What it used.",
        "warnings": "What was asked for and not done as it was asked.",
        "error": "What went wrong; null unless `status` is `failed`.",
        "metadata": "The strings of the request.",
    },
    "ServedBy": {
        "backend": "The provider's or the local model's name in the gateway's config.",
        "model": "The backend's own name for the model.",
        "location": "Whether the data stayed here (`local`) or went elsewhere (`remote`).",
        "behind": "Who served it behind a backend that is a gateway itself, as that one says. Else it is not there.",
    },
    "FailedAttempt": {
        "backend": "What was tried.",
        "model": "The backend's own name for the model.",
        "code": "The error's code.",
        "duration_s": "How long it took to fail.",
        "cost_usd": "What it cost all the same; null where that is not known.",
    },
    "Usage": {
        **_USAGE,
        "images": "Images that were made.",
        "cost_usd": "What it cost; null where the price is not known.",
        "estimated": "Whether a count is the gateway's own estimate.",
        "duration_s": "From the request to the end.",
        "time_to_first_event_s": "From the request to the first output.",
        "queued_s": "Time spent waiting for a local model.",
    },
    "GenerationWarning": {
        "code": "What happened: a parameter was left out, or what was asked was sent in another form, whose effect is "
        "another; a part was left out, or the `provider_state` of another provider; a tool was to be called and was "
        "not; the backend ended its answer for a reason that nobody knows; a part is of another media type than it "
        "says.",
        "parameter": "A JSON pointer to what was not honoured as it stands.",
        "detail": "What was not done, or done in its place, and why.",
    },
    "Problem": {
        "type": "A URI for the kind of error: a name, not necessarily a page.",
        "title": "The kind of error in words; the same for every error of a code.",
        "status": "The HTTP status.",
        "code": "The kind of error, for programs.",
        "detail": "What was wrong this time, and what to do.",
        "request_id": "Look for this in the log.",
        "generation_id": "The generation that failed, where there was one.",
        "retryable": "Whether the same request may succeed later.",
        "retry_after_s": "How long to wait first, where that is known.",
        "pointer": "A JSON pointer to what is wrong in the body.",
        "errors": "All that is wrong in the body, up to 20 entries.",
        "backend": "The provider or local model that failed.",
        "backend_status": "Its own HTTP status.",
        "backend_code": "Its own code for the error.",
        "attempts": "The targets that were tried.",
    },
    "Violation": {
        "pointer": "A JSON pointer (RFC 6901) into the body.",
        "detail": "What is wrong there; never quotes the value.",
    },
    "Progress": {
        "stage": "What is being waited for: `queued`, `loading`, or a runner's own word.",
        "fraction": "How far it is, from 0 to 1.",
        "step": "Which step it is at.",
        "steps": "How many there are.",
        "position": "The place in the queue, from 0.",
        "eta_s": "How long it will still take.",
        "detail": "More in words.",
    },
    "Started": {"served_by": "What serves it; final."},
    "ItemStarted": {**_ITEM, "item": "The item as it begins."},
    "ItemDelta": {
        **_ITEM,
        "item_type": "The item's type.",
        "text": "More text, of a text, reasoning or refusal item.",
        "arguments": "More of the arguments of a tool call.",
        "logprobs": "The log probabilities of the new tokens, where they were asked for.",
    },
    "ItemCompleted": {**_ITEM, "item": "The whole item."},
    "Model": {
        "id": "What to ask for.",
        "name": "A name for people.",
        "kind": "A model, or a name for several.",
        "location": "Whether it runs here, or its input goes elsewhere.",
        "free": "Whether it costs no money.",
        "input_modalities": "What it takes.",
        "output_modalities": "What it makes.",
        "capabilities": "What it can do.",
        "context_tokens": "How many tokens a generation may have, input and output together.",
        "max_output_tokens": "How many of them may be output.",
        "parameters": "The parameters that it honours.",
        "price": "What it costs.",
        "backends": "What serves it.",
        "status": "How it stands.",
        "source": "The config file, this API, or a provider's own list.",
        "bytes": "The size of its files.",
        "license": "The licence of its weights.",
        "quantization": "How its weights are quantized.",
        "last_used_at": "When it last served.",
        "detail": "Why it has this status, where there is something to say.",
        "targets": "What would serve it, and what not; null in lists.",
    },
    "Prospect": {
        "backend": "The provider or the local model.",
        "model": "The backend's own name for the model.",
        "location": "Whether it runs here, or the input goes elsewhere.",
        "position": "When it would be tried, from 1; null if it would not be.",
        "reason": "Why it stands there, or why it would not be tried.",
        "free": "Whether it costs no money.",
        "price": "What it costs.",
        "latency_s": "How soon it lately began to answer.",
    },
    "Capabilities": {
        "streaming": "It can answer piece by piece.",
        "tools": "It can ask for tools to be called.",
        "json_schema": "It can be held to a JSON Schema.",
        "reasoning": "It can think first.",
    },
    "Price": {
        "input_per_million": "A million tokens of input.",
        "cached_input_per_million": "A million tokens of input that came from a cache.",
        "output_per_million": "A million tokens of output.",
    },
    "NewModel": {
        "id": "The name to give it. `load` and `unload` are taken.",
        "source": "`file:` and an absolute path, in a folder that the operator allows.",
        "runner": "What is to serve it.",
        "context_tokens": "How many tokens a generation may have; null is what the weights say.",
        "slots": "How many generations run at once.",
        "queue": "How many more may wait.",
        "keep_alive_s": "How long it stays loaded when idle; null is the operator's default.",
        "options": "The runner's own options.",
    },
    "ModelName": {"model": "The model's id."},
    "WorkerReport": {
        "model": "The model that it serves.",
        "runner": "The runner that started it.",
        "pid": "The process id; null when the process is gone.",
        "state": "Where it is in its life.",
        "slots": "How many generations it can run at once.",
        "slots_in_use": "How many it runs now.",
        "queue_length": "How many wait for it.",
        "started_at": "When it was started.",
        "idle_s": "How long it has been idle; null while it works.",
        "memory_bytes": "The RAM it holds, with its children and the mapped pages of the weights.",
    },
    "Me": {"id": "The key's id.", "name": "The key's name.", "scopes": "What it may do.", "location": _KEY["location"]},
    "ApiKey": {**_KEY, "revoked_at": "When it was revoked; null if it was not."},
    "NewKey": {
        "name": "What the key is for.",
        "scopes": "What it may do; left out, `generate` and `models:read`.",
        "location": _KEY["location"],
        "expires_at": "When it stops working, with a time zone; null is never.",
    },
    "CreatedKey": {**_KEY, "secret": "The key to send. Shown here and never again."},
    "Health": {
        "status": "`ok`, `ready` or `not_ready`.",
        "detail": "Why it is not ready, or what is wrong although it serves.",
    },
    "ModelPage": {**_PAGE, "warnings": "The providers whose own list could not be read, or is not there yet."},
    "ListWarning": {
        "backend": "The provider.",
        "detail": "Why its list could not be read.",
        "code": "A word for a program to go by.",
    },
    "WorkerReportPage": _PAGE,
    "ApiKeyPage": _PAGE,
    "GenerationCreated": {"generation": "The generation as it begins."},
    "GenerationCompleted": {"generation": "The whole of it, as the plain answer gives it."},
    "GenerationFailed": {"generation": "The whole of it: what came so far, and `error`."},
}


class Moment:
    """One kind of event of a stream: when it comes."""

    __slots__ = ("name", "when")

    def __init__(self, name: str, when: str) -> None:
        self.name = name
        self.when = when


EVENTS: tuple[Moment, ...] = (
    Moment("generation.created", "Always first."),
    Moment("generation.progress", "While it waits for a slot or for a model to load, and as a runner tells it."),
    Moment("generation.started", "Once, right before the first output: what serves it is final."),
    Moment("output.started", "An item begins."),
    Moment("output.delta", "More of an item."),
    Moment("output.completed", "An item is whole."),
    Moment("generation.completed", "Always last, when it went well."),
    Moment("generation.failed", "Always last, when it did not."),
)

STREAM_NOTES = """\
Each event has a line `event:` with its name and a line `data:` with one JSON object, whose `type` repeats the name. \
The status and the headers go out with the first event from the backend, or after one second of waiting: an error \
before that is an ordinary error answer with its own status. An error after it is a `generation.failed` event, whose \
`generation.error` is the same object: a stream never just ends. A comment line every 15 seconds keeps the connection \
alive. Ignore events that you do not know."""

_USAGE_EXAMPLE = {
    "input_tokens": 14,
    "cached_input_tokens": 0,
    "output_tokens": 9,
    "reasoning_tokens": None,
    "images": 0,
    "cost_usd": "0",
    "estimated": False,
    "duration_s": 0.42,
    "time_to_first_event_s": 0.09,
    "queued_s": 0.0,
}


def _generation(**changes: Any) -> dict[str, Any]:
    return {
        "id": "gen_019aa9d3f4a07c1e5b62d8a4f03e9c71",
        "object": "generation",
        "status": "completed",
        "modality": "text",
        "model": "demo",
        "served_by": {"backend": "demo", "model": "demo", "location": "local"},
        "attempts": [],
        "created_at": "2026-11-22T09:30:00.000000Z",
        "started_at": "2026-11-22T09:30:00.090000Z",
        "completed_at": "2026-11-22T09:30:00.420000Z",
        "expires_at": None,
        "output": [
            {"type": "text", "text": "The air scatters blue light the most.", "annotations": [], "logprobs": None}
        ],
        "finish_reason": "stop",
        "usage": _USAGE_EXAMPLE,
        "warnings": [],
        "error": None,
        "metadata": {},
        **changes,
    }


_WEATHER_TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city now.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_MODEL = {
    "id": "demo",
    "name": "Demo",
    "kind": "model",
    "location": "local",
    "free": True,
    "input_modalities": ["text"],
    "output_modalities": ["text"],
    "capabilities": {"streaming": True, "tools": None, "json_schema": True, "reasoning": False},
    "context_tokens": 512,
    "max_output_tokens": None,
    "parameters": None,
    "price": {"input_per_million": "0", "cached_input_per_million": "0", "output_per_million": "0"},
    "backends": ["demo"],
    "status": "loaded",
    "source": "file",
    "bytes": 1843200,
    "license": "apache-2.0",
    "quantization": "F16",
    "last_used_at": "2026-11-22T09:30:00.420000Z",
    "detail": None,
    "targets": None,
}
_DEMO_TARGET = {
    "backend": "demo",
    "model": "demo",
    "location": "local",
    "position": 1,
    "reason": "the only target",
    "free": True,
    "price": None,
    "latency_s": 0.021,
}
_REGISTERED = {
    **_MODEL,
    "id": "qwen3-0.6b",
    "name": "Qwen3 0.6B",
    "status": "registered",
    "source": "api",
    "context_tokens": 8192,
    "backends": ["qwen3-0.6b"],
    "bytes": 639446688,
    "quantization": "Q8_0",
    "last_used_at": None,
}
_KEY_EXAMPLE = {
    "id": "key_019aa9d3f4a07c1e5b62d8a4f03e9c71",
    "name": "notebook",
    "scopes": ["generate", "models:read"],
    "location": None,
    "created_at": "2026-11-22T09:30:00Z",
    "expires_at": None,
}

Examples = Mapping[str, Mapping[str, Any]]

# operation → summary → body. The first is the one that a curl line shows.
REQUESTS: Mapping[str, Examples] = {
    "POST /v1/generations": {
        "A question": {
            "model": "demo",
            "input": "Why is the sky blue?",
            "parameters": {"max_output_tokens": 100, "temperature": 0.2},
        },
        "A stream": {
            "model": "demo",
            "input": "Why is the sky blue?",
            "parameters": {"max_output_tokens": 100},
            "stream": True,
        },
        "A conversation": {
            "model": "demo",
            "input": [
                {"role": "system", "content": "Answer in one sentence."},
                {"role": "user", "content": "Why is the sky blue?"},
                {"role": "assistant", "content": [{"type": "text", "text": "The air scatters blue light the most."}]},
                {"role": "user", "content": [{"type": "text", "text": "And at sunset?"}]},
            ],
            "parameters": {"max_output_tokens": 100},
        },
        "JSON that obeys a schema": {
            "model": "demo",
            "input": "Name a colour.",
            "parameters": {"max_output_tokens": 50},
            "response_format": {
                "type": "json_schema",
                "name": "colour",
                "schema": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            },
        },
        "A tool": {
            "model": "openai/gpt-5-mini",
            "input": "What is the weather in Rome?",
            "tools": [_WEATHER_TOOL],
            "tool_choice": "auto",
        },
        "A tool's result": {
            "model": "openai/gpt-5-mini",
            "input": [
                {"role": "user", "content": "What is the weather in Rome?"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": '{"city":"Rome"}'}
                    ],
                },
                {
                    "role": "tool",
                    "content": [{"type": "tool_result", "tool_call_id": "call_1", "content": "21 degrees, clear"}],
                },
            ],
            "tools": [_WEATHER_TOOL],
        },
        "An image to look at": {
            "model": "openai/gpt-5-mini",
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image", "url": "https://example.com/cat.png"},
                    ],
                }
            ],
        },
        "Embeddings": {
            "model": "openai/text-embedding-3-small",
            "modality": "embedding",
            "input": ["blue", "azure"],
            "parameters": {"dimensions": 256},
        },
        "On this machine or not at all": {
            "model": "demo",
            "input": "Why is the sky blue?",
            "parameters": {"max_output_tokens": 100},
            "routing": {"only": ["local"]},
        },
    },
    "POST /v1/models": {
        "A GGUF file": {"id": "qwen3-0.6b", "source": "file:/models/qwen3-0.6b-q8_0.gguf", "context_tokens": 8192}
    },
    "POST /v1/models/load": {"The demo model": {"model": "demo"}},
    "POST /v1/models/unload": {"The demo model": {"model": "demo"}},
    "POST /v1/keys": {
        "A key to generate with": {"name": "notebook"},
        "A key for Prometheus": {"name": "prometheus", "scopes": ["metrics"]},
        "A key whose data stays here": {"name": "diary", "location": "local"},
    },
}

# operation → summary → JSON of the answer.
ANSWERS: Mapping[str, Examples] = {
    "POST /v1/generations": {
        "A text": _generation(),
        "A tool call": _generation(
            model="openai/gpt-5-mini",
            served_by={"backend": "openai", "model": "gpt-5-mini", "location": "remote"},
            output=[{"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": '{"city":"Rome"}'}],
            finish_reason="tool_calls",
            usage={**_USAGE_EXAMPLE, "cost_usd": "0.000021"},
        ),
    },
    "GET /v1/models": {"The demo model alone": {"data": [_MODEL], "next_cursor": None, "warnings": []}},
    "POST /v1/models": {"A registered model": _REGISTERED},
    "POST /v1/models/load": {"The demo model": _MODEL},
    "POST /v1/models/unload": {"The demo model": {**_MODEL, "status": "available"}},
    "GET /v1/models/{id}": {"The demo model": {**_MODEL, "targets": [_DEMO_TARGET]}},
    "GET /v1/workers": {
        "One process": {
            "data": [
                {
                    "model": "demo",
                    "runner": "llama.cpp",
                    "pid": 4211,
                    "state": "ready",
                    "slots": 2,
                    "slots_in_use": 1,
                    "queue_length": 0,
                    "started_at": "2026-11-22T09:29:58Z",
                    "idle_s": None,
                    "memory_bytes": 61865984,
                }
            ],
            "next_cursor": None,
        }
    },
    "GET /v1/me": {
        "A key": {
            "id": _KEY_EXAMPLE["id"],
            "name": "notebook",
            "scopes": ["generate", "models:read"],
            "location": None,
        },
    },
    "GET /v1/keys": {"One key": {"data": [{**_KEY_EXAMPLE, "revoked_at": None}], "next_cursor": None}},
    "POST /v1/keys": {"A new key": {**_KEY_EXAMPLE, "secret": "plg_<public id>_<secret>"}},
    "GET /healthz": {"Alive": {"status": "ok", "detail": None}},
    "GET /readyz": {"Ready": {"status": "ready", "detail": None}},
}

# A streamed answer of the example request, event by event.
STREAM: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (
        "generation.created",
        {
            "generation": _generation(
                status="running",
                served_by=None,
                started_at=None,
                completed_at=None,
                output=[],
                finish_reason=None,
                usage={name: value if name == "images" else None for name, value in _USAGE_EXAMPLE.items()}
                | {"estimated": False, "queued_s": 0.0},
            )
        },
    ),
    (
        "generation.progress",
        {
            "stage": "loading",
            "fraction": None,
            "step": None,
            "steps": None,
            "position": None,
            "eta_s": None,
            "detail": None,
        },
    ),
    ("generation.started", {"served_by": {"backend": "demo", "model": "demo", "location": "local"}}),
    ("output.started", {"index": 0, "item": {"type": "text", "text": "", "annotations": [], "logprobs": None}}),
    ("output.delta", {"index": 0, "item_type": "text", "text": "The air scatters"}),
    ("output.delta", {"index": 0, "item_type": "text", "text": " blue light the most."}),
    (
        "output.completed",
        {
            "index": 0,
            "item": {
                "type": "text",
                "text": "The air scatters blue light the most.",
                "annotations": [],
                "logprobs": None,
            },
        },
    ),
    ("generation.completed", {"generation": _generation()}),
)

# operation that makes something → operations on what it made, by the `id` of its answer.
LINKS: Mapping[str, tuple[str, ...]] = {
    "POST /v1/models": ("GET /v1/models/{id}", "DELETE /v1/models/{id}"),
    "POST /v1/keys": ("DELETE /v1/keys/{id}",),
}

PATH_PARAMETERS: Mapping[str, tuple[str, str]] = {
    "/v1/models/{id}": ("The model's id. It may hold slashes.", "demo"),
    "/v1/keys/{id}": ("The key's id, not the key.", "key_019aa9d3f4a07c1e5b62d8a4f03e9c71"),
}
