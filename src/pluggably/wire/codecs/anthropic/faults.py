"""What an error on Anthropic's wire means, as errors of the house.

What surprises: the status and the type tell most, but not all: a prompt that is too long, used-up credit and a refused
content all come as `invalid_request_error`, and only the words tell them apart. A refused key is the operator's, and
what the vendor says of it is not shown.

Source: platform.claude.com/docs/en/api/errors and …/api/rate-limits (2026-11); the error codes of the anthropic package
2.12.0 (`_error_classes.py`). Words that no page has come with where they were seen.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from pluggably.errors import (
    BackendError,
    BackendRateLimited,
    BackendTimeout,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    PayloadTooLarge,
    PluggablyError,
    UnsupportedParameter,
)
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.openai import faults as openai_faults
from pluggably.wire.faults import (
    UNSUPPORTED_WORDS,
    Asked,
    credential_refused,
    credit_used_up,
    decoded,
    fault_by_status,
    named,
    retry_after_s,
    shown,
)
from pluggably.wire.parts import own_pointer

# What a type would come with as its status: in a stream it comes without one.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_SPENT = frozenset(
    (
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
    )
)
# A 400 all the same, but nothing that a client could change.
_ACCOUNT = frozenset(
    (
        "claude_code_key_creator_not_member",
        "cmek_key_disabled",
        "cmek_key_network_blocked",
        "organization_not_enrolled_in_beta",
        "organization_on_hold",
        "organization_type_not_supported",
    )
)
# github.com/anthropics/claude-code/issues/66314; "a 400 when usage reaches an organization or workspace spend limit".
_SPENT_WORDS = re.compile(r"credit balance is too low|specified (workspace )?API usage limits|spend limit", re.I)
# github.com/docker/docker-agent/issues/569, github.com/anthropics/claude-code/issues/12186
_CONTEXT_WORDS = re.compile(r"prompt is too long|exceed(s|ed)? (the )?(model's )?context (limit|window)", re.I)
_FILTERED_WORDS = re.compile(r"blocked by content filtering policy", re.I)
# `messages.3.content.0.text: …`
_PLACE = re.compile(r"([a-z_]+)(?:\.(\d+))?[\w.\[\]-]*: ")

_POINTERS = {
    "model": "/model",
    "messages": "/input",
    "system": "/input",
    "tools": "/tools",
    "tool_choice": "/tool_choice",
    "max_tokens": "/parameters/max_output_tokens",
    "stop_sequences": "/parameters/stop",
    "temperature": "/parameters/temperature",
    "top_p": "/parameters/top_p",
    "top_k": "/parameters/top_k",
    "thinking": "/parameters/reasoning/effort",
}


class _Error(Struct):
    type: str = ""
    message: str = ""
    details: Any = None
    # In place of a type, where Google's own gate answers (Vertex AI).
    status: Any = None

    @property
    def code(self) -> str | None:
        """The vendor's own name of what is wrong, the closer one where there are two."""
        closer = self.details.get("error_code") if isinstance(self.details, dict) else None
        return shown(closer if isinstance(closer, str) else self.type or self.status, 100) or None


class _ErrorBody(Struct):
    error: _Error
    request_id: str | None = None


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    try:
        body = msgspec.convert(decoded(reply.body), _ErrorBody)
    except msgspec.ValidationError:
        return openai_faults.fault_of_reply(reply, asked)
    request_id = reply.headers.get("request-id") or body.request_id
    return named(_judge(body.error, reply.status, reply, request_id, asked), body.error.code)


def fault_in_answer(error: Any, asked: Asked) -> PluggablyError:
    """The error that stands where an answer should: inside a 200, or in the middle of a stream."""
    if not isinstance(error, dict) or not isinstance(error.get("type"), str):
        return openai_faults.fault_in_answer(error, asked)
    told = _Error(error["type"], str(error.get("message") or ""), error.get("details"))
    reply = HttpReply(status=_STATUSES.get(told.type, 500), headers={}, body=b"")
    fault = _judge(told, None, reply, None, asked)
    if isinstance(fault, BackendError):
        fault.backend_status = None  # nobody answered with the stand-in's
    return named(fault, told.code)


def _judge(error: _Error, status: int | None, reply: HttpReply, request_id: str | None, asked: Asked) -> PluggablyError:
    told = f"{asked.backend} answered {status}" if status else f"{asked.backend} failed"
    words = shown(error.message)
    said = f"{told}: {words}" if words else f"{told}."
    if request_id:
        said = f"{said} (request {shown(request_id, 60)})"
    facts: dict[str, Any] = {"backend_status": status, "backend_code": error.code}
    expected = _STATUSES.get(error.type, reply.status)
    if status is not None and expected < 500 <= status:
        expected = status  # a server that is only shaped like this one calls all its errors the client's
    if error.code in _SPENT or expected == 402 or (expected in (400, 429) and _SPENT_WORDS.search(words)):
        return credit_used_up(asked, **facts)
    if expected in (401, 403) or error.code in _ACCOUNT:
        return credential_refused(asked, error.code or status, **facts)
    if expected == 404 and re.search(r"\bmodel\b", words, re.I):
        return ModelNotFound(said, pointer="/model")
    if expected == 413:
        return PayloadTooLarge(said)
    if expected in (400, 422):
        return _of_the_request(said, words, asked)
    wait = retry_after_s(reply.headers, limited=False)  # `retry-after` alone: …/api/rate-limits
    if expected == 429:
        return BackendRateLimited(said, retry_after_s=wait, **facts)
    if expected == 504:
        return BackendTimeout(said, retry_after_s=wait, **facts)
    return fault_by_status(reply, said, code=error.code, retry_after_s=wait)


def _of_the_request(said: str, words: str, asked: Asked) -> PluggablyError:
    if _CONTEXT_WORDS.search(words):
        return ContextLengthExceeded(said, pointer="/input")
    if _FILTERED_WORDS.search(words):
        return ContentFiltered(said, pointer="/input")
    kind = UnsupportedParameter if UNSUPPORTED_WORDS.search(words) else InvalidRequest
    return kind(said, pointer=_pointer(words, asked))


def _pointer(words: str, asked: Asked) -> str | None:
    """Where our request has what the vendor's words begin with: `messages.3.content.0.text: …`."""
    place = _PLACE.match(words)
    if place is None:
        return None
    root, index = place.group(1), place.group(2)
    if root in asked.own_options:
        return own_pointer(asked.backend, root)
    if root == "output_config":
        return "/response_format" if place.group(0).startswith("output_config.format") else _POINTERS["thinking"]
    pointer = _POINTERS.get(root)
    if index is None:
        return pointer
    if root == "messages":
        known = int(index) < len(asked.origins)
        return f"/input/{asked.origins[int(index)]}" if known else pointer
    return f"{pointer}/{index}" if root == "tools" else pointer
