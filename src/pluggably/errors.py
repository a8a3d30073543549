"""Every error of the house, in one tree.

    PluggablyError
    ├── ClientError            the request is wrong: change it
    │   ├── InvalidRequest ─ UnsupportedParameter, UnsupportedModality, ContextLengthExceeded, ContentFiltered,
    │   │                    InputUrlRefused, InputUrlUnreachable
    │   ├── Unauthenticated, PermissionDenied
    │   ├── NotFound ─ ModelNotFound
    │   └── MethodNotAllowed, NotAcceptable, RequestTimeout, Conflict, PayloadTooLarge,
    │       UnsupportedMediaType, HeadersTooLarge
    ├── GatewayError           this gateway cannot do it now, or has a bug
    │   └── InternalError, Overloaded, ModelUnavailable, ShuttingDown, InsufficientStorage
    ├── BackendError           the provider or the local model failed
    │   └── BackendRejected, BackendRateLimited, BackendAuthenticationFailed, BackendQuotaExhausted,
    │       BackendInvalidResponse, BackendTimeout, BackendUnreachable
    └── StartupError           the gateway cannot start; shown to the operator, never over HTTP

Each class states its HTTP status and code (the table of the API reference), and answers two separate questions:
`again`: may the same target succeed later? `elsewhere`: may another target succeed now? A detail says what was wrong
and what to do next. The HTTP form is made in one place, `PluggablyError.problem`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import msgspec

ERROR_TYPE_ROOT = "https://pluggably.dev/errors/"
MAX_VIOLATIONS = 20


class Violation(msgspec.Struct, frozen=True):
    """One thing that is wrong in a request: a JSON pointer (RFC 6901) and why. Never quotes the value."""

    pointer: str
    detail: str


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """A target that was tried and failed."""

    backend: str
    model: str
    code: str
    duration_s: float
    cost_usd: str | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as clients see it: `application/problem+json` (RFC 9457), and a failed generation's `error`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None = None
    generation_id: str | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    pointer: str | None = None
    errors: list[Violation] = []
    backend: str | None = None
    backend_status: int | None = None
    backend_code: str | None = None
    attempts: list[FailedAttempt] = []


class PluggablyError(Exception):
    """The root. `detail` is shown to clients: it may name what they sent by pointer, never secrets or inner paths."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong in the gateway"
    again: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
        headers: dict[str, str] | None = None,
        for_operators: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        # What only the log and a caller with the scope `admin` are told besides.
        self.for_operators = for_operators
        self.pointer = pointer
        self.violations = list(violations[:MAX_VIOLATIONS])
        # A backend may say anything here, and a plug-in may pass it on.
        self.retry_after_s = retry_after_s if retry_after_s is not None and 0 <= retry_after_s < math.inf else None
        self.headers = headers or {}
        # Where a backend refused the request: its name here, which dispatch alone knows, and its own words.
        self.backend: str | None = None
        self.backend_status: int | None = None
        self.backend_code: str | None = None
        # Set by dispatch once there is a generation that failed with this.
        self.generation_id: str | None = None
        # The same for what was tried.
        self.attempts: Sequence[FailedAttempt] = ()

    def problem(self, request_id: str | None = None) -> Problem:
        """The one rendering of an error."""
        return Problem(
            type=ERROR_TYPE_ROOT + self.code,
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            request_id=request_id,
            generation_id=self.generation_id,
            retryable=self.again,
            retry_after_s=self.retry_after_s,
            pointer=self.pointer,
            errors=self.violations,
            backend=self.backend,
            backend_status=self.backend_status,
            backend_code=self.backend_code,
            attempts=list(self.attempts),
        )


# ── the request is wrong ────────────────────────────────────────────────────────────────────────────────────────────


class ClientError(PluggablyError):
    """The client must change its request; trying again as it is fails again."""


class InvalidRequest(ClientError):
    status, code, title = 400, "invalid_request", "The request is not valid"

    def problem(self, request_id: str | None = None) -> Problem:
        """Where one thing alone is wrong, `errors` lists it as well."""
        told = super().problem(request_id)
        if told.errors or told.pointer is None:
            return told
        alone = Violation(told.pointer, told.detail.removeprefix(f"{told.pointer}: "))
        return msgspec.structs.replace(told, errors=[alone])


class UnsupportedParameter(InvalidRequest):
    """This target cannot honour what changes the meaning of the request; another might."""

    status, code, title = (
        400,
        "unsupported_parameter",
        "The chosen backend cannot honour a part of the request",
    )
    elsewhere = True


class UnsupportedModality(InvalidRequest):
    status, code, title = 400, "unsupported_modality", "The model does not take or make this modality"
    elsewhere = True


class ContextLengthExceeded(InvalidRequest):
    status, code, title = 400, "context_length_exceeded", "The input is longer than the model's context"
    elsewhere = True


class ContentFiltered(InvalidRequest):
    status, code, title = 400, "content_filtered", "The provider's content filter refused the request"
    elsewhere = True


class InputUrlRefused(InvalidRequest):
    """The gateway does not fetch this URL. A target that takes URLs itself has no need of it."""

    status, code, title = 400, "input_url_refused", "The gateway does not fetch a URL of the input"
    elsewhere = True


class InputUrlUnreachable(InvalidRequest):
    """The URL's server did not give the content, or not in time."""

    status, code, title = 400, "input_url_unreachable", "A URL of the input could not be fetched"
    elsewhere = True


class Unauthenticated(ClientError):
    status, code, title = 401, "unauthenticated", "A valid credential is needed"


class PermissionDenied(ClientError):
    status, code, title = 403, "permission_denied", "This credential may not do that"


class NotFound(ClientError):
    status, code, title = 404, "not_found", "There is nothing here"


class ModelNotFound(NotFound):
    """No such model here, or the provider has it no more."""

    status, code, title = 404, "model_not_found", "There is no such model"
    elsewhere = True


class MethodNotAllowed(ClientError):
    status, code, title = 405, "method_not_allowed", "This path does not take this method"


class NotAcceptable(ClientError):
    status, code, title = 406, "not_acceptable", "The answer cannot take the form that Accept demands"


class RequestTimeout(ClientError):
    """The client took too long to send its request."""

    status, code, title = 408, "request_timeout", "The request did not arrive in time"
    again = True


class Conflict(ClientError):
    status, code, title = 409, "conflict", "The request conflicts with what is there"


class PayloadTooLarge(ClientError):
    status, code, title = 413, "payload_too_large", "The request, or a part of it, is too large"


class UnsupportedMediaType(ClientError):
    status, code, title = 415, "unsupported_media_type", "This media type is not supported here"


class HeadersTooLarge(ClientError):
    status, code, title = 431, "headers_too_large", "The request's headers are too large"


# ── the gateway ─────────────────────────────────────────────────────────────────────────────────────────────────────


class GatewayError(PluggablyError):
    """This gateway cannot do it, or not now."""


class InternalError(GatewayError):
    """A bug. The detail tells nothing about the inside; the log does, under the request id."""

    def __init__(self) -> None:
        super().__init__("This is a fault of the gateway, not of the request. The log has more under the request id.")


class Overloaded(GatewayError):
    status, code, title = 503, "overloaded", "The gateway has no room for this request now"
    again = elsewhere = True


class ModelUnavailable(GatewayError):
    """A model that is known but cannot serve: its files are missing, its process does not start, its key is unset."""

    status, code, title = 503, "model_unavailable", "The model cannot serve now"
    again = elsewhere = True


class ShuttingDown(GatewayError):
    status, code, title = 503, "shutting_down", "The gateway is shutting down"
    again = True


class InsufficientStorage(GatewayError):
    status, code, title = 507, "insufficient_storage", "There is not enough disk space"


# ── the backend ─────────────────────────────────────────────────────────────────────────────────────────────────────


class BackendError(PluggablyError):
    """What a provider or a local model did wrong; also the fallback for a status that has no class of its own.
    `sent` is false only where it is certain that nothing of the call has left."""

    status, code, title = 502, "backend_error", "The backend failed"
    again = elsewhere = True

    def __init__(
        self,
        detail: str,
        *,
        pointer: str | None = None,
        retry_after_s: float | None = None,
        backend_status: int | None = None,
        backend_code: str | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(detail, pointer=pointer, retry_after_s=retry_after_s)
        self.sent = sent
        self.backend_status = backend_status
        self.backend_code = backend_code


class BackendRejected(BackendError):
    """The backend does not take the call (a 404 without a word of a model, a 405, …): most likely a wrong address."""

    title = "The backend does not take the call"
    again = False


class BackendRateLimited(BackendError):
    status, code, title = 429, "backend_rate_limited", "The provider is limiting requests"


class BackendAuthenticationFailed(BackendError):
    """The operator's credential was refused, not the client's."""

    status, code, title = (
        502,
        "backend_authentication_failed",
        "The provider refused the gateway's credential",
    )
    again = False


class BackendQuotaExhausted(BackendError):
    status, code, title = 502, "backend_quota_exhausted", "The gateway's credit at the provider is used up"
    again = False


class BackendInvalidResponse(BackendError):
    """Not the documented wire: no JSON, a stream that just ended, an error inside a 200 that says nothing."""

    status, code, title = 502, "backend_invalid_response", "The backend's answer could not be understood"


class BackendUnreachable(BackendError):
    """No connection: refused, no such host, TLS failure, or dropped before a byte came back."""

    title = "The backend could not be reached"


class BackendTimeout(BackendError):
    status, code, title = 504, "backend_timeout", "The backend took too long"


# ── before there is a server ────────────────────────────────────────────────────────────────────────────────────────


class StartupError(PluggablyError):
    """The gateway cannot start: a wrong config, a data directory in use, a port that is taken."""

    title = "The gateway cannot start"
