"""What an error on OpenAI's wire means: the vendors' statuses, types, codes and words as errors of the house.

The only place that reads the vendors' prose. What surprises: the right side is to blame. A refused key is the
operator's, and what the vendor says of it is not shown, because OpenAI quotes a part of the key; a 400 that blames the
request is the client's, with the vendor's words, cut and cleaned, since they say best what to change.

Source: developers.openai.com/docs/guides/error-codes and …/guides/rate-limits (2026-11); for others where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from pluggably.domain.generation import Event
from pluggably.errors import (
    BackendError,
    BackendInvalidResponse,
    BackendRateLimited,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    PayloadTooLarge,
    PluggablyError,
    UnsupportedModality,
    UnsupportedParameter,
)
from pluggably.wire.codec import HttpReply, Step
from pluggably.wire.faults import (
    Asked,
    Meaning,
    credential_refused,
    credit_used_up,
    decoded,
    duration_s,
    fault_by_status,
    named,
    retry_after_s,
    shown,
)
from pluggably.wire.parts import own_pointer

_MAX_EXCERPT = 120

_CONTEXT = {
    "context_length_exceeded",
    "exceed_context_size_error",  # llama.cpp's server, tools/server/server-common.cpp
}
# For those who give no code: OpenRouter, vLLM and others say it in these words; the second line is Moonshot's
# (platform.kimi.ai/docs/api/errors), SGLang's and LM Studio's.
_CONTEXT_WORDS = re.compile(
    r"maximum context length|exceeds? (the |this model's )?(available )?context|context window"
    r"|exceeded model token limit|input token length too long|(longer|greater) than the (model's )?context length",
    re.I,
)
_FILTERED = {
    "content_filter",
    "content_policy_violation",
    "content_filtered",
    "moderation_blocked",
    # The `error` of a response (…/reference/resources/responses, "The response object", 2026-11). OpenAI says
    # `invalid_prompt` of what its policies forbid.
    "invalid_prompt",
    "image_content_policy_violation",
    "bio_policy",
    "misalignment_policy_violation",
}
# The other codes of such an `error` that blame what was sent. They come without a status: the call itself succeeded.
_BAD_INPUT = {
    "invalid_image",
    "invalid_image_format",
    "invalid_base64_image",
    "invalid_image_url",
    "invalid_image_mode",
    "image_too_large",
    "image_too_small",
    "image_parse_error",
    "image_file_too_large",
    "image_file_not_found",
    "empty_image_file",
    "unsupported_image_media_type",
    "failed_to_download_image",
}
# "Inspect error.code": …/guides/error-codes, and learn.microsoft.com/…/dev-proxy/concepts/openai-insufficient-quota
_QUOTA = {
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
}
_RATE = {"rate_limit_exceeded", "rate_limit_error", "slow_down", "too_many_requests"}
_REFUSED_KEY = {"invalid_api_key", "authentication_error", "invalid_authentication", "unauthorized"}
# `model_decommissioned`: console.groq.com/docs/errors. Ollama has a 404 and "model … not found" only.
_NO_MODEL = {"model_not_found", "model_decommissioned"}
_NO_MODEL_WORDS = re.compile(r"\bmodel\b.*(not found|not exist|not supported|no access|have access)", re.I | re.S)
# xAI refuses a wrong key with a status of 400: docs.x.ai/developers/debugging (2026-11).
_REFUSED_KEY_WORDS = re.compile(r"\b(incorrect|invalid) api key", re.I)
_UNSUPPORTED = {"unsupported_parameter", "unsupported_value"}
# Groq's 400 for what its model wrote and not for what was asked: a call that cannot be read or fits no tool, and JSON
# that does not fit its schema. Another try, or another model, may do better: console.groq.com/docs/tool-use/
# local-tool-calling and …/structured-outputs, "Error Handling" (2026-11).
_MODELS_FAILURE = {"tool_use_failed", "json_validate_failed"}
# llama.cpp's server answers 500 where a call in the conversation has arguments that are no JSON
# (common/chat.cpp, 2026-11). Every try fails alike, at every server, so it is no failure of this one.
_REQUEST_WORDS = re.compile(r"^Failed to parse tool call arguments as JSON")

# Groq's flex tier "is at capacity": console.groq.com/docs/errors
_FLEX_FULL = 498

# Moonshot and others tell the wait in words alone: "please try again after 20 seconds", "in 6m0s".
_WAIT_WORDS = re.compile(r"try again (?:in|after) (\d[\d.]* ?[dhms][dhms\d.]*)", re.I)

_POINTERS = {
    "model": "/model",
    "messages": "/input",
    "input": "/input",
    "tools": "/tools",
    "functions": "/tools",
    "tool_choice": "/tool_choice",
    "parallel_tool_calls": "/parallel_tool_calls",
    "response_format": "/response_format",
    "max_tokens": "/parameters/max_output_tokens",
    "max_completion_tokens": "/parameters/max_output_tokens",
    "max_output_tokens": "/parameters/max_output_tokens",
    "text": "/response_format",
    "reasoning": "/parameters/reasoning/effort",
    "reasoning_effort": "/parameters/reasoning/effort",
    "logprobs": "/parameters/logprobs",
    "top_logprobs": "/parameters/logprobs",
    "dimensions": "/parameters/dimensions",
    **{
        name: f"/parameters/{name}"
        for name in (
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "seed",
            "stop",
            "presence_penalty",
            "frequency_penalty",
        )
    },
}


class Complaint(Struct, kw_only=True):
    """A vendor's error, whatever its form. `words` are its type and its code, as lower-case text."""

    status: int | None
    message: str
    words: set[str]
    code: str | None
    param: str | None
    moderated: bool = False


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    value = decoded(reply.body)
    if value is None:
        return _without_json(reply, asked)
    complaint = _complaint(value, reply.status)
    wait_s = retry_after_s(reply.headers, limited=reply.status == 429)
    return named(_judge(complaint, asked, reply, wait_s), complaint.code)


def fault_in_answer(error: Any, asked: Asked) -> PluggablyError:
    """The error that stands where an answer should: inside a 200, or in the middle of a stream."""
    complaint = _complaint({"error": error}, None)
    if not complaint.message and not complaint.words:
        return BackendInvalidResponse(f"{asked.backend} sent an error that says nothing.")
    reply = HttpReply(status=complaint.status or 502, headers={}, body=b"")
    fault = _judge(complaint, asked, reply, None)
    if isinstance(fault, BackendError):
        fault.backend_status = complaint.status  # nobody answered with the stand-in's
    return named(fault, complaint.code)


def failed(used: Sequence[Event], fault: PluggablyError) -> Step:
    """An answer that ended in an error, after the events that tell what it used. Raises: the error, where none do."""
    if not used:
        raise fault
    return Step(used, error=fault)


# ── which error ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _judge(complaint: Complaint, asked: Asked, reply: HttpReply, retry_s: float | None) -> PluggablyError:
    status, words = complaint.status, complaint.words
    told = f"{asked.backend} answered {status}" if status else f"{asked.backend} failed"
    said = f"{told}: {complaint.message}" if complaint.message else f"{told}."
    facts: dict[str, Any] = {"backend_status": status, "backend_code": complaint.code}
    pointer = pointer_of(complaint.param, asked)
    meaning = _meaning(complaint, asked.error_codes)
    if meaning == "context":
        return ContextLengthExceeded(said, pointer="/input")
    if meaning == "filtered":
        return ContentFiltered(said, pointer="/input")
    if meaning == "quota":
        return credit_used_up(asked, **facts)
    if meaning == "credential":
        return credential_refused(asked, complaint.code or status, **facts)
    if meaning == "model":
        return ModelNotFound(said, pointer="/model")
    if meaning == "rate":
        if retry_s is None and (wait := _WAIT_WORDS.search(complaint.message)):
            retry_s = duration_s(wait.group(1).replace(" ", ""))
        return BackendRateLimited(said, retry_after_s=retry_s, **facts)
    if meaning == "request":
        if words & _MODELS_FAILURE:
            return BackendError(said, **facts)
        if words & _UNSUPPORTED:
            return UnsupportedParameter(said, pointer=pointer)
        return InvalidRequest(said, pointer=pointer)
    if status is None and words & _BAD_INPUT:
        return InvalidRequest(said, pointer=pointer or "/input")
    if status == 413:
        return PayloadTooLarge(said)
    if status == 501:  # llama.cpp's `not_supported_error`: the server runs without that feature
        return UnsupportedModality(said) if asked.modality == "embedding" else UnsupportedParameter(said)
    return fault_by_status(reply, said, code=complaint.code, retry_after_s=retry_s)


def _meaning(complaint: Complaint, own: Mapping[str, Meaning]) -> Meaning | None:
    """What an error means: by the vendor's own codes, else by everybody's. None: only its status tells."""
    status, words = complaint.status, complaint.words
    for word in sorted(words & own.keys()):
        return own[word]
    if words & _CONTEXT or (status in (None, 400, 413, 422) and _CONTEXT_WORDS.search(complaint.message)):
        return "context"
    if words & _FILTERED or complaint.moderated:
        return "filtered"
    if words & _QUOTA or status == 402:
        return "quota"
    if words & _REFUSED_KEY or status in (401, 403) or (status == 400 and _REFUSED_KEY_WORDS.search(complaint.message)):
        return "credential"
    if words & _NO_MODEL or status == 410 or (status == 404 and _NO_MODEL_WORDS.search(complaint.message)):
        return "model"
    if words & _RATE or status in (429, _FLEX_FULL):
        return "rate"
    if status in (400, 422) or (status is None and "invalid_request_error" in words):
        return "request"
    if status == 500 and _REQUEST_WORDS.match(complaint.message):
        return "request"
    return None


def _without_json(reply: HttpReply, asked: Asked) -> PluggablyError:
    """A page of whatever stands before the API, or nothing at all. Never quoted whole."""
    text = reply.body[:65536].decode("utf-8", "replace")
    excerpt = shown(_title(text) if "<" in text else text, _MAX_EXCERPT)
    if reply.status in (401, 403):
        excerpt = ""
    detail = f"{asked.backend} answered {reply.status}" + (f": {excerpt}" if excerpt else ", without a reason") + "."
    if reply.status in (301, 302, 303, 307, 308, 404, 405):
        detail += " Its operator can check the provider's `base_url`."
    if reply.status == 413:
        return PayloadTooLarge(detail)
    if reply.status in (400, 422):
        return InvalidRequest(detail)
    return fault_by_status(reply, detail, retry_after_s=retry_after_s(reply.headers, limited=reply.status == 429))


def _title(page: str) -> str:
    """The title of a page of HTML, or nothing."""
    lower = page.lower()
    _, _, behind = page[lower.find("<title") :].partition(">") if "<title" in lower else ("", "", "")
    return behind[: max(behind.lower().find("</title"), 0)]


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _complaint(value: Any, status: int | None) -> Complaint:
    """Reads `{"error": {…}}`, and the forms of others: `{"error": "…"}`, `{"message": …}`, `{"detail": …}`, `[{…}]`,
    and Cloudflare's `{"errors": [{…}]}`."""
    if isinstance(value, dict) and not value.keys() & {"error", "message"} and isinstance(value.get("errors"), list):
        value = value["errors"]
    if isinstance(value, list):
        value = value[0] if value else {}
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return Complaint(status=status, message=shown(error), words=set(), code=None, param=None)
    # `reason`: Novita, beside the status as `code`.
    code, kind, param = error.get("code"), error.get("type") or error.get("reason"), error.get("param")
    if status is None and isinstance(code, int) and 400 <= code <= 599:
        status = code  # llama.cpp and OpenRouter repeat the status as the code
    metadata = error.get("metadata")
    return Complaint(
        status=status,
        message=_with_raw(shown(error.get("message") or error.get("detail") or ""), metadata),
        words={str(word).lower() for word in (code, kind) if isinstance(word, str | int)},
        code=shown(code if isinstance(code, str) and code else kind or code or "", 100) or None,
        param=param if isinstance(param, str) else None,
        # openrouter.ai/docs/api/reference/errors-and-debugging, "Moderation errors"
        moderated=isinstance(metadata, dict) and ("reasons" in metadata or "flagged_input" in metadata),
    )


def _with_raw(message: str, metadata: Any) -> str:
    """OpenRouter's message with the words of the provider behind it, beside which its own "Provider returned error"
    says nothing: openrouter.ai/docs/api/reference/errors-and-debugging, "Provider Errors" (2026-11)."""
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str) and raw.lstrip()[:1] in ("{", "["):
        raw = decoded(raw.encode("utf-8", "replace")) or raw  # cut, or no JSON after all: told as it stands
    told = shown(_words_of(raw))
    return shown(f"{message}: {told}" if message and told else message or told)


def _words_of(raw: Any) -> Any:
    """The message in a provider's error, which has one of the usual forms; else all of it."""
    first = raw[0] if isinstance(raw, list) and raw else raw
    error = first.get("error", first) if isinstance(first, dict) else first
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) and message else raw


def pointer_of(param: str | None, asked: Asked) -> str | None:
    """`messages[2].content[0]` as a pointer into our request."""
    steps = re.findall(r"[^.\[\]]+", param or "")
    if not steps:
        return None
    root, index = steps[0], steps[1] if len(steps) > 1 else ""
    if root in asked.own_options:
        return own_pointer(asked.backend, root)
    pointer = _POINTERS.get(root)
    if not index.isdecimal():
        return pointer
    if root == "messages" or (root == "input" and asked.origins):
        # With one message only, the input may have been a string, which has no index.
        known = len(asked.origins) > 1 and int(index) < len(asked.origins)
        return f"/input/{asked.origins[int(index)]}" if known else pointer
    return f"{pointer}/{index}" if root in ("tools", "input") else pointer
