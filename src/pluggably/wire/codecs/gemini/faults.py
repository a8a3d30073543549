"""What an error on Gemini's wire means: Google's statuses, reasons and words as errors of the house.

Errors are a `google.rpc.Status`, alone or in a list. What surprises: a wrong key is a 400, told apart by its reason
alone; so is a country that is not served. Everything that ran out is a 429, be it a minute's requests or the account's
credit. What Google says of a key or an account is not shown to clients; what it says of their request is.

Source: ai.google.dev/gemini-api/docs/generate-content/api-errors and …/docs/rate-limits (2026-11);
github.com/googleapis/googleapis, google/api/error_reason.proto and google/rpc/error_details.proto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendTimeout,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    PayloadTooLarge,
    PluggablyError,
    UnsupportedParameter,
)
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.openai.faults import fault_of_reply as fault_of_another_form
from pluggably.wire.faults import Asked, decoded, fault_by_status, named, retry_after_s, shown
from pluggably.wire.parts import own_pointer

# google.api.ErrorReason, those that blame the key, the account or the project.
_REFUSED_KEY = re.compile(
    r"API_KEY_|ACCESS_TOKEN_|CREDENTIALS_|CONSUMER_|SERVICE_(DISABLED|NOT_VISIBLE)|ACCOUNT_STATE|USER_PROJECT_DENIED"
    r"|IAM_PERMISSION_DENIED|SECURITY_POLICY|LOCATION_(POLICY|TAX|ORG)|ORG_RESTRICTION|VPC_|GCP_SUSPENDED"
)
_NO_BILLING = "BILLING_DISABLED"
_REFUSED_KEY_WORDS = re.compile(r"api key|location is not supported|not available in your (country|region)", re.I)
_CONTEXT_WORDS = re.compile(r"input token count|exceeds the maximum number of (input )?tokens|context window", re.I)
_SIZE_WORDS = re.compile(r"payload size exceeds", re.I)
_CREDIT_WORDS = re.compile(
    r"prepa(y|id)|credits? (is|are|has|have) (been )?(deplet|exhaust|us)|spend(ing)? (cap|limit)", re.I
)
# A file that a client names, and may not see or has not finished sending.
_FILE_WORDS = re.compile(r"\b(files?|cached ?contents?)\b", re.I)
_UNSUPPORTED_WORDS = re.compile(r"is not (enabled|supported)|unsupported|does not support", re.I)
_WAIT_WORDS = re.compile(r"retry in (\d+(?:\.\d+)?)s", re.I)
_PLACE_WORDS = re.compile(r"at '([\w.\[\]]+)'|\* (?:GenerateContentRequest\.)?([\w.\[\]]+):|Unknown name \"(\w+)\"")

_FIELDS = {
    "model": "/model",
    "tools": "/tools",
    "toolconfig": "/tool_choice",
    "systeminstruction": "/input",
    "contents": "/input",
    "content": "/input",
    "requests": "/input",
    "instances": "/input",
    "outputdimensionality": "/parameters/dimensions",
    "maxoutputtokens": "/parameters/max_output_tokens",
    "temperature": "/parameters/temperature",
    "topp": "/parameters/top_p",
    "topk": "/parameters/top_k",
    "seed": "/parameters/seed",
    "stopsequences": "/parameters/stop",
    "presencepenalty": "/parameters/presence_penalty",
    "frequencypenalty": "/parameters/frequency_penalty",
    "responselogprobs": "/parameters/logprobs",
    "logprobs": "/parameters/logprobs",
    "thinkingconfig": "/parameters/reasoning/effort",
    "responsemimetype": "/response_format",
    "responseschema": "/response_format",
    "responsejsonschema": "/response_format/schema",
}


class _Complaint(Struct, kw_only=True):
    """A `google.rpc.Status`: `reasons` and `fields` are those of its details, `status` is its HTTP status."""

    status: int | None
    code: str | None
    message: str
    reasons: list[str] = []
    fields: list[str] = []
    retry_s: float | None = None


def fault_of_reply(reply: HttpReply, asked: Asked) -> PluggablyError:
    """The error that a reply with a status of 300 or more means."""
    value = decoded(reply.body)
    if value is None:
        return fault_of_another_form(reply, asked)
    complaint = _complaint(value, reply.status)
    if complaint.retry_s is None:
        complaint.retry_s = retry_after_s(reply.headers, limited=reply.status == 429)
    return named(_judge(complaint, asked, reply), complaint.code)


def fault_in_answer(error: Any, asked: Asked) -> PluggablyError:
    """The error that stands where an answer should: inside a 200, or in the middle of a stream."""
    complaint = _complaint({"error": error}, None)
    if not complaint.message and complaint.code is None and complaint.status is None:
        return BackendInvalidResponse(f"{asked.backend} sent an error that says nothing.")
    fault = _judge(complaint, asked, HttpReply(status=complaint.status or 502, headers={}, body=b""))
    if isinstance(fault, BackendError):
        fault.backend_status = complaint.status  # nobody answered with the stand-in's
    return named(fault, complaint.code)


def _judge(complaint: _Complaint, asked: Asked, reply: HttpReply) -> PluggablyError:
    status, message = complaint.status, complaint.message
    told = f"{asked.backend} answered {status}" if status else f"{asked.backend} failed"
    said = f"{told}: {message}" if message else f"{told}."
    facts: dict[str, Any] = {"backend_status": status, "backend_code": complaint.code}
    code = complaint.code
    if status == 429 or code == "RESOURCE_EXHAUSTED":
        if _CREDIT_WORDS.search(message):
            return _out_of_credit(asked, facts)
        return BackendRateLimited(said, retry_after_s=complaint.retry_s, **facts)
    if _NO_BILLING in complaint.reasons:
        return _out_of_credit(asked, facts)
    file_is_named = status in (400, 403, 404) and _FILE_WORDS.search(message) is not None
    if _blames_account(complaint) and not (status == 403 and file_is_named and not complaint.reasons):
        return BackendAuthenticationFailed(
            f"{asked.backend} refused the gateway's credential ({_reason(complaint)}). "
            "Its operator can check the key, what it may do, and from where.",
            **facts,
        )
    pointer = _pointer(complaint, asked)
    if status == 413 or _SIZE_WORDS.search(message):
        return PayloadTooLarge(said)
    if status == 404 or code == "NOT_FOUND":
        if file_is_named:
            return InvalidRequest(said, pointer=pointer or "/input")
        return (
            ModelNotFound(said, pointer="/model") if "model" in message.lower() else _by_status(complaint, reply, said)
        )
    if status in (400, 403, 422):
        if _CONTEXT_WORDS.search(message):
            return ContextLengthExceeded(said, pointer="/input")
        if _UNSUPPORTED_WORDS.search(message):
            return UnsupportedParameter(said, pointer=pointer)
        return InvalidRequest(said, pointer=pointer)
    if status == 499 or code in ("CANCELLED", "ABORTED"):
        return BackendError(said, **facts)
    if code == "DEADLINE_EXCEEDED":
        return BackendTimeout(said, **facts)
    return _by_status(complaint, reply, said)


def _blames_account(complaint: _Complaint) -> bool:
    if any(_REFUSED_KEY.match(reason) for reason in complaint.reasons):
        return True
    if complaint.status in (401, 403) or complaint.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return True
    return complaint.status == 400 and _REFUSED_KEY_WORDS.search(complaint.message) is not None


def _out_of_credit(asked: Asked, facts: dict[str, Any]) -> BackendQuotaExhausted:
    return BackendQuotaExhausted(
        f"{asked.backend} refuses: the gateway's credit or spending limit there is used up, or billing is off. "
        "Its operator can look at the account's billing.",
        **facts,
    )


def _by_status(complaint: _Complaint, reply: HttpReply, said: str) -> BackendError:
    return fault_by_status(reply, said, code=complaint.code, retry_after_s=complaint.retry_s)


def _reason(complaint: _Complaint) -> str:
    return next((shown(reason, 60) for reason in complaint.reasons), complaint.code or str(complaint.status))


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _complaint(value: Any, status: int | None) -> _Complaint:
    """Reads `{"error": {…}}`, and the same in a list, as a stream without `alt=sse` would have it."""
    error = value
    while isinstance(error, list) or (isinstance(error, dict) and "error" in error):
        error = error.get("error") if isinstance(error, dict) else next(iter(error), {})
    if not isinstance(error, dict):
        return _Complaint(status=status, code=None, message=shown(error))
    number = error.get("code")
    if status is None and isinstance(number, int) and 400 <= number <= 599:
        status = number
    code = error.get("status")
    complaint = _Complaint(
        status=status,
        code=shown(code, 60) or None if isinstance(code, str) else None,
        message=shown(error.get("message") or ""),
    )
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            _take_detail(detail, complaint)
    if complaint.retry_s is None and (wait := _WAIT_WORDS.search(complaint.message)):
        complaint.retry_s = float(wait[1])
    return complaint


def _take_detail(detail: Mapping[str, Any], complaint: _Complaint) -> None:
    kind = str(detail.get("@type", "")).rpartition(".")[2]
    reason, delay, violations = detail.get("reason"), detail.get("retryDelay"), detail.get("fieldViolations")
    if kind == "ErrorInfo" and isinstance(reason, str):
        complaint.reasons.append(reason)
    elif kind == "RetryInfo" and isinstance(delay, str) and re.fullmatch(r"\d+(\.\d+)?s", delay):
        complaint.retry_s = float(delay[:-1])
    elif kind == "BadRequest" and isinstance(violations, list):
        complaint.fields += [
            each["field"] for each in violations if isinstance(each, Mapping) and isinstance(each.get("field"), str)
        ]


def _pointer(complaint: _Complaint, asked: Asked) -> str | None:
    """`generation_config.top_k` or `contents[0].parts[1]`, from the details or the words, as a pointer into our
    request."""
    places = [*complaint.fields]
    places += ["".join(part or "" for part in found.groups()) for found in _PLACE_WORDS.finditer(complaint.message)]
    for place in places:
        steps = re.findall(r"[^.\[\]]+", place)
        if not steps:
            continue
        own = next((step for step in steps if step in asked.own_options), None)
        if own is not None:
            return own_pointer(asked.backend, own)
        names = [step.replace("_", "").lower() for step in steps]
        found = next((name for name in reversed(names) if name in _FIELDS), None)
        if found is None:
            continue
        index = names.index(found) + 1
        at = int(steps[index]) if index < len(steps) and steps[index].isdecimal() else None
        if found == "contents" and at is not None and at < len(asked.origins):
            return f"/input/{asked.origins[at]}"
        return _FIELDS[found]
    return None
