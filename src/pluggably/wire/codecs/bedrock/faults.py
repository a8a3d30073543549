"""What an error of Bedrock means: its exceptions as errors of the house.

The name of an exception stands in a header of an answer, or in the kind of a frame of a stream; the body has a message.
What surprises: a wrong signature, a clock that is off and a model that the account may not use all come as a 403, and
what is said of them names the operator's account, so none of it is shown. And too long a prompt is told in the words of
each model's maker.

Source: docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html,
…/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors and …/APIReference/CommonErrors.html (2026-11).
"""

from __future__ import annotations

import re

from msgspec import Struct

from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendQuotaExhausted,
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
from pluggably.wire.faults import (
    UNSUPPORTED_WORDS,
    Asked,
    decoded,
    fault_by_status,
    named,
    retry_after_s,
    shown,
    words_of,
)

_CREDENTIAL = {
    "AccessDeniedException",
    "AccessDenied",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "InvalidClientTokenId",
    "MissingAuthenticationTokenException",
    "MissingAuthenticationToken",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "ExpiredTokenException",
    "ExpiredToken",
    "RequestExpired",
    "NotAuthorized",
    "OptInRequired",
    "FTUFormNotFilled",
}
_CLOCK = {"InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired"}
# The words of Bedrock itself, Claude, Llama, Mistral, Nova and Cohere.
_CONTEXT_WORDS = re.compile(
    r"input is too long|prompt is too long|too many (input )?tokens|context (length|window)|maximum context"
    r"|input length .*exceed|exceeds? the (maximum|limit) .*tokens|tokens? .*exceeds? .*(limit|maximum)",
    re.I | re.S,
)
_FILTER_WORDS = re.compile(r"content filter|blocked by (a |the )?(guardrail|policy|safety)|content policy", re.I)
# The third is of a model that is to be had by the id of an inference profile only.
_MODEL_WORDS = re.compile(
    r"model identifier is invalid|could not resolve the foundation model|with on-demand throughput|end of its life",
    re.I,
)
# Of tokens a day (docs.aws.amazon.com/general/latest/gr/bedrock.html, 2026-11); a minute's are there again in a minute.
_QUOTA_WORDS = re.compile(r"\bper day\b", re.I)
_ACCOUNT_WORDS = re.compile(r"account is not authorized|not authorized to (invoke|perform)", re.I)
# Which of our parameters it names: Converse's own word, or Claude's.
_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "topP": "top_p",
    "top_k": "top_k",
    "topK": "top_k",
    "stopSequences": "stop",
    "stop_sequences": "stop",
    "effort": "reasoning/effort",
    "thinking": "reasoning/effort",
}
_PARAMETER = re.compile(rf"\b({'|'.join(_PARAMETERS)})\b")
_PLACE = re.compile(r"\bmessages\.(\d+)\b")
# An ARN names the account.
_ARN = re.compile(r"arn:aws[\w-]*:\S+|\b\d{12}\b")


class Complaint(Struct, frozen=True):
    """An exception: its name, and what it says."""

    name: str
    message: str
    status: int | None


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    fault = judged(_complaint(reply, reply.status), asked, reply)
    if isinstance(fault, BackendError) and fault.retry_after_s is None:
        fault.retry_after_s = retry_after_s(reply.headers, limited=isinstance(fault, BackendRateLimited))
    return fault


def fault_in_answer(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply means which is none by its status, but has no answer in it."""
    complaint = _complaint(reply, None)
    if not complaint.name and not complaint.message:
        return BackendInvalidResponse(f"{asked.backend} sent an answer without content.")
    return judged(complaint, asked, None)


def _complaint(reply: HttpReply, status: int | None) -> Complaint:
    value = decoded(reply.body)
    body = value if isinstance(value, dict) else {}
    if isinstance(body.get("Output"), dict):  # of AWS's own gate, before any service
        body = body["Output"]
    named = reply.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code") or ""
    # An address may stand behind the name, a name space before it.
    name = str(named).partition(":")[0].rpartition("#")[2]
    message = body.get("message") or body.get("Message") or ""
    return Complaint(name, shown(_ARN.sub("[redacted]", words_of(message))), status)


def fault_of_frame(kind: str, payload: bytes, asked: Asked) -> PluggablyError:
    """The error that a stream ends with; `kind` is that of its frame."""
    _, _, name = kind.partition(":")
    value = decoded(payload)
    message = value.get("message") or value.get("originalMessage") if isinstance(value, dict) else ""
    # In a stream its name begins in lower case.
    name = name[:1].upper() + name[1:]
    return judged(Complaint(name, shown(_ARN.sub("[redacted]", words_of(message))), None), asked, None)


def judged(complaint: Complaint, asked: Asked, reply: HttpReply | None) -> PluggablyError:
    """The error of the house for an exception."""
    return named(_judge(complaint, asked, reply), shown(complaint.name, 100) or None)


def _judge(complaint: Complaint, asked: Asked, reply: HttpReply | None) -> PluggablyError:
    name, message, backend = complaint.name, complaint.message, asked.backend
    if name in _CREDENTIAL or _ACCOUNT_WORDS.search(message):
        return _refused(complaint, asked)
    said = f": {message}" if message else "."
    told = {"backend_status": complaint.status, "backend_code": shown(name, 100) or None}
    if name == "ValidationException" or (not name and complaint.status == 400):
        return _invalid(message, asked)
    if name == "ResourceNotFoundException" or (not name and complaint.status == 404):
        return ModelNotFound(f"{backend} does not know {asked.model}, or not in this region{said}", pointer="/model")
    is_limit = name in ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded")
    if is_limit and not _QUOTA_WORDS.search(message):
        return BackendRateLimited(f"{backend} is limiting requests{said}", **told)  # type: ignore[arg-type]
    if is_limit or name == "ServiceQuotaExceededException":
        return BackendQuotaExhausted(f"A quota of the account at {backend} is used up{said}", **told)  # type: ignore[arg-type]
    if name == "ModelTimeoutException":
        return BackendTimeout(f"{asked.model} took too long at {backend}{said}", **told)  # type: ignore[arg-type]
    if complaint.status == 413 or name == "RequestEntityTooLargeException":
        return PayloadTooLarge(f"{backend} does not take so large a request{said}")
    if reply is None or name.endswith("Exception") or name in ("InternalFailure", "ServiceUnavailable"):
        # ModelNotReadyException, ModelErrorException, ModelStreamErrorException, InternalServerException,
        # ServiceUnavailableException, and whatever is new: all of them may go away by themselves.
        return BackendError(f"{backend} failed{said}", **told)  # type: ignore[arg-type]
    return fault_by_status(reply, f"{backend} answered with status {reply.status}{said}", code=name or None)


def _refused(complaint: Complaint, asked: Asked) -> BackendAuthenticationFailed:
    detail = f"{asked.backend} refused the gateway's credential, or the account may not use {asked.model}."
    if complaint.name in _CLOCK:
        detail = (
            f"{asked.backend} refused the gateway's signature: the secret key is wrong, or this machine's clock is."
        )
    return BackendAuthenticationFailed(
        detail, backend_status=complaint.status, backend_code=shown(complaint.name, 100) or None
    )


def _invalid(message: str, asked: Asked) -> PluggablyError:
    said = f"{asked.backend} refused the request: {message}" if message else f"{asked.backend} refused the request."
    if _CONTEXT_WORDS.search(message):
        return ContextLengthExceeded(said)
    if _FILTER_WORDS.search(message):
        return ContentFiltered(said)
    if _MODEL_WORDS.search(message):
        return ModelNotFound(said, pointer="/model")
    place = _PLACE.search(message)
    index = int(place[1]) if place is not None else -1
    pointer = f"/input/{asked.origins[index]}" if 0 <= index < len(asked.origins) else None
    if UNSUPPORTED_WORDS.search(message) is None:
        return InvalidRequest(said, pointer=pointer)
    named = _PARAMETER.search(message)
    if pointer is None and named is not None:
        pointer = f"/parameters/{_PARAMETERS[named[1]]}"
    return UnsupportedParameter(said, pointer=pointer)
