"""What the errors of all vendors have in common: what was asked, so that an error can point into it; the vendor's words
as clients may see them; and how long to wait.

What surprises: vendors quote keys, and name the operator's account, in their errors. So nothing of theirs is shown
without `shown`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from pluggably.domain.generation import GenerationRequest
from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendQuotaExhausted,
    BackendRateLimited,
    BackendRejected,
    BackendTimeout,
    PluggablyError,
    Violation,
)
from pluggably.wire.codec import Address, HttpReply

MAX_SHOWN = 500
# What a pattern may look at of a vendor's words: more than any error says, and so little that no words, however they
# are made, hold the loop.
MAX_READ = 4096
# No wait is told in more characters; `1d12h30m15.123s` has 15.
_LONGEST_DURATION = 32

# Keys, as vendors quote them ("sk-proj-ab***yz", at Moonshot "ak-…"), and the ids of the operator's organisation and
# project ("org-A1b2C3"), which unlike words have digits or capitals in them. Google names the project in the path of
# what it speaks of ("projects/my-project/locations/…"), or by its number.
_SECRET = re.compile(
    r"\b(?:(?i:bearer)\s+\S+"
    r"|(?i:ak|sk|gsk|pk|rk|xai|pplx|csk|fw|hf|nvapi|ghp|github_pat)[-_][\w*.\-]{4,}"
    r"|(?:org|proj|user|acct)[-_](?=\w*[0-9A-Z])\w{6,}"
    r"|projects/[^/\s`'\"?]+|(?i:project(?:[_ ]number)?)[:= ]{1,2}#?\d{6,}|project=[\w.:-]+"
    # Google's keys, and how it names the one that a call came with: "for consumer 'api_key:AIza…'".
    r"|AIza[\w-]{8,}|api_key:\S+)"
)

# What says that this model does not take something, where another one may, so that a route goes on. Claude's words are
# the same at every cloud: platform.claude.com/docs/en/api/errors ("Extra inputs are not permitted", "Prefill not
# supported"), github.com/cline/cline/issues/10572 ("is deprecated for this model"), github.com/aws-samples/
# bedrock-access-gateway/issues/191 ("cannot both be specified"). Bedrock's own: "extraneous key [x] is not permitted",
# "Unknown parameter", "doesn't support tool use in streaming mode" (2026-11).
UNSUPPORTED_WORDS = re.compile(
    r"extra inputs are not permitted|extraneous key|unknown parameter|not supported|(does not|doesn.t) support"
    r"|is (removed|deprecated)|cannot both be specified",
    re.I,
)

# What a vendor's error means: too long a prompt; a prompt or an answer that is not allowed; no credit left; too many
# requests; a refused key or account; no such model; a request that is wrong in some other way.
Meaning: TypeAlias = Literal["context", "filtered", "quota", "rate", "credential", "model", "request"]


class Asked(Struct, frozen=True, kw_only=True):
    """What was asked, as far as an error can point into it. `origins` has for each of the vendor's messages, or items
    of its input, the index of the message that it came from."""

    backend: str
    model: str
    modality: str
    origins: Sequence[int] = ()
    own_options: Mapping[str, Any] = {}
    error_codes: Mapping[str, Meaning] = {}


def asked(
    request: GenerationRequest,
    address: Address,
    origins: Sequence[int] = (),
    error_codes: Mapping[str, Meaning] = {},
) -> Asked:
    """What a request asks at an address."""
    return Asked(
        backend=address.backend,
        model=address.model,
        modality=request.modality,
        origins=origins,
        own_options=request.provider_options.get(address.backend, {}),
        error_codes=error_codes,
    )


def credential_refused(asked: Asked, reason: object, **facts: Any) -> BackendAuthenticationFailed:
    """The error for a key that is the operator's; what a vendor says of it is not shown."""
    return BackendAuthenticationFailed(
        f"{asked.backend} refused the gateway's credential ({reason}). "
        "Its operator can check the key and what it may do.",
        **facts,
    )


def credit_used_up(asked: Asked, **facts: Any) -> BackendQuotaExhausted:
    return BackendQuotaExhausted(
        f"{asked.backend} refuses: the gateway's credit or spending limit there is used up. "
        "Its operator can add credit or raise the limit.",
        **facts,
    )


def fault_by_status(
    reply: HttpReply, detail: str, *, code: str | None = None, retry_after_s: float | None = None
) -> BackendError:
    """The error that a status means where the vendor's own code says nothing closer."""
    kinds: dict[int, type[BackendError]] = {
        401: BackendAuthenticationFailed,
        402: BackendQuotaExhausted,
        403: BackendAuthenticationFailed,
        408: BackendTimeout,
        429: BackendRateLimited,
        504: BackendTimeout,
    }
    kind = kinds.get(reply.status, BackendRejected if 300 <= reply.status < 500 else BackendError)
    return kind(detail, retry_after_s=retry_after_s, backend_status=reply.status, backend_code=code)


def named(fault: PluggablyError, code: str | None) -> PluggablyError:
    """The fault with the backend's own code for it, which a client may want to know also where the fault is its own."""
    if fault.backend_code is None:
        fault.backend_code = code
    return fault


def decoded(body: bytes) -> Any | None:
    """The body of an error as JSON; None where it is none. One in another encoding than UTF-8 still tells its codes."""
    try:
        try:
            return msgspec.json.decode(body)
        except UnicodeDecodeError:  # no kind of the other
            return msgspec.json.decode(body.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return None


def words_of(value: Any) -> str:
    """A vendor's words, as far as they are read; nothing where there is no text."""
    return value[:MAX_READ] if isinstance(value, str) else ""


def in_order(text: str, *patterns: re.Pattern[str]) -> bool:
    """Whether the text has what each pattern looks for, one behind the other. One pattern with `.*` between them would
    find the same, in a time that grows with a power of the text's length."""
    place = 0
    for pattern in patterns:
        found = pattern.search(text, place)
        if found is None:
            return False
        place = found.end()
    return True


def shown(value: Any, limit: int = MAX_SHOWN) -> str:
    """A vendor's words as clients may see them: one line, without keys and account ids, cut to `limit` characters."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode() if value else ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    text = _SECRET.sub("[redacted]", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def redact(error: PluggablyError, credentials: Collection[str]) -> None:
    """Takes the values of an endpoint's own credentials out of an error that clients see: a vendor may quote them in
    any form, and cut them. What is shorter than eight characters could be a word."""
    beginnings = sorted({re.escape(one[: max(8, len(one) // 2)]) for one in credentials if len(one) >= 8})
    if not beginnings:
        return
    pattern = re.compile(rf"""(?:{"|".join(beginnings)})[^\s"'`,;<>()\[\]{{}}]*""")

    def cleared(text: str) -> str:
        return pattern.sub("[redacted]", text)

    error.detail = cleared(error.detail)
    error.args = (error.detail,)
    error.pointer = error.pointer and cleared(error.pointer)
    error.backend_code = error.backend_code and cleared(error.backend_code)
    error.violations = [Violation(cleared(one.pointer), cleared(one.detail)) for one in error.violations]


def retry_after_s(headers: Mapping[str, str], *, limited: bool = True) -> float | None:
    """Seconds until it is worth trying again, from what the vendors send. The headers about limits stand on every
    answer of OpenAI, so they count only where a limit was the reason.

    Source: `retry-after-ms` is read by OpenAI's own SDK (openai 3.54.0, _base_client.py); RFC 9110 §10.2.3 for
    `retry-after`; …/guides/rate-limits, "Rate limits in headers", for the others."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _number(headers.get(name))
        if milliseconds is not None:
            return milliseconds / 1000
    given = headers.get("retry-after")
    if given is not None:
        seconds = _number(given)
        return seconds if seconds is not None else _seconds_until(given, headers.get("date"))
    if not limited:
        return None
    resets = {limit: duration_s(headers.get(f"x-ratelimit-reset-{limit}", "")) for limit in ("requests", "tokens")}
    # The one that ran out says when; where neither did, tokens were left but too few, and the longer wait is safe.
    out = [wait for limit, wait in resets.items() if headers.get(f"x-ratelimit-remaining-{limit}") == "0" and wait]
    return max(out or [wait for wait in resets.values() if wait], default=None)


def duration_s(text: str) -> float | None:
    """`6m0s`, `1.5s`, `12ms`, `1h2m3s` in seconds."""
    if len(text) > _LONGEST_DURATION:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)", text)
    if not parts:
        return None
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    return sum(float(number) * units[unit] for number, unit in parts)


def _number(text: str | None) -> float | None:
    """A number of seconds or the like; None for anything that is none, such as a date, or makes no sense."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _seconds_until(date: str, now: str | None) -> float | None:
    """Seconds until an HTTP date, counted from the reply's own `Date`, where it has one: clocks differ."""
    try:
        until = parsedate_to_datetime(date).timestamp()
        since = parsedate_to_datetime(now).timestamp() if now else time.time()
    except (ValueError, OverflowError):  # the latter of a year that no calendar has
        return None
    return max(until - since, 0.0)
