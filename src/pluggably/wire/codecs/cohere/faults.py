"""What an error of Cohere means: its statuses and its words as errors of the house.

What surprises: an error is `{"message": …}` and nothing more, so what is not told by the status is told by prose alone:
a prompt that is too long, a trial key that is used up, and which parameter is wrong.

Source: docs.cohere.com/reference/errors and …/docs/rate-limits (2026-11); for 498 and 499 the responses of the OpenAPI
document (github.com/cohere-ai/cohere-developer-experience, cohere-openapi.yaml).
"""

from __future__ import annotations

import re
from typing import Any

from pluggably.errors import (
    BackendError,
    BackendInvalidResponse,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendTimeout,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    PluggablyError,
    UnsupportedModality,
    UnsupportedParameter,
)
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.openai.faults import fault_of_reply as fault_of_other_reply
from pluggably.wire.faults import Asked, credential_refused, decoded, fault_by_status, retry_after_s, shown
from pluggably.wire.parts import own_pointer

# "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292", "size limit exceeded by
# 11326 tokens"; not "max tokens must be less than or equal to 4096", which blames the parameter.
_CONTEXT_WORDS = re.compile(r"too many tokens: (?!max tokens)|tokens in the prompt|maximum context length", re.I)
# "You are using a Trial key, which is limited to 1000 API calls / month", which no waiting of ours outlasts.
_MONTH_WORDS = re.compile(r"/ ?month|per month|monthly|billing limit", re.I)
_NO_MODEL_WORDS = re.compile(r"\bmodel\b.*(not found|not supported|was removed|deprecated)", re.I | re.S)
# "invalid request: temperature must be …": the first of these words says what is wrong.
_FIELDS = {
    "response_format": "/response_format",
    "json_schema": "/response_format",
    "tool_choice": "/tool_choice",
    "tool_calls": "/input",
    "tools": "/tools",
    "max_tokens": "/parameters/max_output_tokens",
    "max tokens": "/parameters/max_output_tokens",
    "stop_sequences": "/parameters/stop",
    "temperature": "/parameters/temperature",
    "frequency_penalty": "/parameters/frequency_penalty",
    "presence_penalty": "/parameters/presence_penalty",
    "seed": "/parameters/seed",
    "thinking": "/parameters/reasoning/effort",
    "logprobs": "/parameters/logprobs",
    "output_dimension": "/parameters/dimensions",
    "texts": "/input",
    "messages": "/input",
    "message": "/input",
}
_FIELD_WORDS = re.compile(rf"\b({'|'.join(_FIELDS)})\b", re.I)


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    value = decoded(reply.body)
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return fault_of_other_reply(reply, asked)  # something that stands before Cohere
    return _judge(shown(value["message"]), reply, asked)


def fault_in_answer(message: Any, asked: Asked) -> PluggablyError:
    """The error that stands where an answer should: inside a 200, or in the middle of a stream."""
    said = shown(message)
    if not said:
        return BackendInvalidResponse(f"{asked.backend} sent an error that says nothing.")
    if _CONTEXT_WORDS.search(said):
        return ContextLengthExceeded(f"{asked.backend} failed: {said}", pointer="/input")
    if "timeout" in said.lower() or "timed out" in said.lower():
        return BackendTimeout(f"{asked.backend} failed: {said}")
    return BackendError(f"{asked.backend} failed: {said}")


def _judge(message: str, reply: HttpReply, asked: Asked) -> PluggablyError:
    status, backend = reply.status, asked.backend
    said = f"{backend} answered {status}: {message}"
    if status in (401, 403):
        return credential_refused(asked, status, backend_status=status)
    if status == 402 or (status == 429 and _MONTH_WORDS.search(message)):
        return BackendQuotaExhausted(
            f"{backend} refuses: what the gateway's key may use there is used up. "
            "Its operator can add credit, raise the limit, or use a production key in place of a trial key.",
            backend_status=status,
        )
    if status == 429:
        return BackendRateLimited(said, retry_after_s=retry_after_s(reply.headers), backend_status=status)
    if status == 498:  # "a request or response contains a deny-listed token"
        return ContentFiltered(said, pointer="/input")
    if status in (400, 404) and _NO_MODEL_WORDS.search(message):
        return ModelNotFound(said, pointer="/model")
    if status in (400, 413, 422):
        if _CONTEXT_WORDS.search(message):
            return ContextLengthExceeded(said, pointer="/input")
        return InvalidRequest(said, pointer=_pointer(message, asked))
    if status == 499:  # "cancelled by the user": nobody here did
        return BackendError(said, backend_status=status)
    if status == 501:
        return UnsupportedModality(said) if asked.modality == "embedding" else UnsupportedParameter(said)
    return fault_by_status(reply, said, retry_after_s=retry_after_s(reply.headers, limited=False))


def _pointer(message: str, asked: Asked) -> str | None:
    # A pattern for each option takes its time, and a client may send many of them.
    told = (name for name in asked.own_options if name in message)
    own = next((name for name in told if re.search(rf"\b{re.escape(name)}\b", message)), None)
    if own is not None:
        return own_pointer(asked.backend, own)
    field = _FIELD_WORDS.search(message)
    return _FIELDS[field.group(1).lower()] if field is not None else None
