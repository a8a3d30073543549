"""What an error of another Pluggably means here: the same, but for whom it blames.

What surprises: its client is this gateway. So a credential that it refuses is our operator's, and its lack of room is
a backend's; but what is wrong in fields that our client sent is our client's, with the same pointer, because the two
bodies have the same form. Whether to try again is its word; whether elsewhere is ours.

Source: the API reference of this project, docs/reference/errors.md.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendRejected,
    BackendTimeout,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    PayloadTooLarge,
    PluggablyError,
    UnsupportedModality,
    UnsupportedParameter,
    Violation,
)
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.native.reply import ProblemSaid, decode_problem
from pluggably.wire.faults import fault_by_status, named, retry_after_s, shown
from pluggably.wire.parts import pointer_step

# The client's, who may change the request. What no class of ours names is an invalid request all the same.
_CLIENTS: dict[str, type[InvalidRequest]] = {
    "invalid_request": InvalidRequest,
    "unsupported_parameter": UnsupportedParameter,
    "unsupported_modality": UnsupportedModality,
    "context_length_exceeded": ContextLengthExceeded,
    "content_filtered": ContentFiltered,
    "input_url_refused": InvalidRequest,
    "input_url_unreachable": InvalidRequest,
}
# Those of the other gateway, and of what stands behind it.
_BACKENDS: dict[str, type[BackendError]] = {
    "unauthenticated": BackendAuthenticationFailed,
    "permission_denied": BackendAuthenticationFailed,
    "model_gated": BackendAuthenticationFailed,
    "license_required": BackendAuthenticationFailed,
    "budget_exceeded": BackendQuotaExhausted,
    "rate_limited": BackendRateLimited,
    "request_timeout": BackendTimeout,
    "backend_rate_limited": BackendRateLimited,
    "backend_authentication_failed": BackendAuthenticationFailed,
    "backend_quota_exhausted": BackendQuotaExhausted,
    "backend_invalid_response": BackendInvalidResponse,
    "backend_timeout": BackendTimeout,
}
# Fields of a body that this gateway decides, so no client is to blame for them.
_OURS = ("stream", "modality", "background")


class Sent(Struct, frozen=True):
    """What was sent, as far as an error can point into it: the fields that came from the client's provider options."""

    backend: str
    own: frozenset[str] = frozenset()


def fault_of_reply(reply: HttpReply, sent: Sent) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    retry_s = retry_after_s(reply.headers, limited=False)
    try:
        problem = decode_problem(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        detail = f"{sent.backend} answered {reply.status}, and not as a Pluggably does."
        if 300 <= reply.status < 500 and reply.status not in (401, 402, 403, 408, 429):
            detail += " Its operator can check the provider's `base_url`, which ends in /v1."
        return PayloadTooLarge(detail) if reply.status == 413 else fault_by_status(reply, detail, retry_after_s=retry_s)
    if problem.retry_after_s is None:
        problem.retry_after_s = retry_s
    return fault_of_problem(problem, reply.status, sent)


def fault_of_another_form(data: bytes, sent: Sent) -> PluggablyError:
    """The error that something between the two gateways wrote into a stream: `{"error": …}` or `{"message": …}`."""
    told: Any = msgspec.json.decode(data)
    error = told.get("error", told) if isinstance(told, dict) else told
    words = shown(error.get("message") if isinstance(error, dict) else error)
    return BackendError(f"{sent.backend} failed: {words}" if words else f"{sent.backend} failed.")


def fault_of_problem(problem: ProblemSaid, status: int | None, sent: Sent) -> PluggablyError:
    """The same, from the error alone: of a reply, or of a generation that failed with an answer begun."""
    return named(_judge(problem, status, sent), shown(problem.backend_code, 100) or None)


def _judge(problem: ProblemSaid, status: int | None, sent: Sent) -> PluggablyError:
    code = problem.code
    behind = f" ({shown(problem.backend, 100)})" if problem.backend else ""
    said = f"{sent.backend}{behind}: {shown(problem.detail) or code}"
    pointer = _pointer(problem.pointer, sent)
    if code in _CLIENTS and not _is_ours(problem.pointer):
        violations = [Violation(_pointer(each.pointer, sent) or "", shown(each.detail)) for each in problem.errors]
        return _CLIENTS[code](said, pointer=pointer, violations=violations)
    if code == "model_not_found":
        return ModelNotFound(said, pointer="/model")
    if code == "payload_too_large":
        return PayloadTooLarge(said)
    facts: dict[str, Any] = {
        "retry_after_s": problem.retry_after_s,
        # The words of the last in the row, who knows best.
        "backend_status": problem.backend_status or status or problem.status,
        "backend_code": shown(problem.backend_code or code, 100),
    }
    kind = _BACKENDS.get(code)
    if kind is BackendAuthenticationFailed and code in ("unauthenticated", "permission_denied"):
        said += " Its operator can check the key of this gateway there, and what it may do."
    if kind is None:
        kind = BackendError if problem.retryable else BackendRejected
    return kind(said, **facts)


def _is_ours(pointer: str | None) -> bool:
    return pointer is not None and pointer.removeprefix("/").partition("/")[0] in _OURS


def _pointer(pointer: str | None, sent: Sent) -> str | None:
    """Where our client finds what the other gateway points at."""
    if pointer is None:
        return None
    field = pointer.removeprefix("/").partition("/")[0]
    if field in sent.own:
        return f"/provider_options/{pointer_step(sent.backend)}{pointer}"
    return shown(pointer)
