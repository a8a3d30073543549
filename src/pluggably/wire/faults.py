"""What the errors of all vendors have in common: what was asked, so that an error can point into it; the vendor's words
as clients may see them; and how long to wait.

What surprises: vendors quote keys, and name the operator's account, in their errors. So nothing of theirs is shown
without `shown`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

MAX_SHOWN = 500

# Keys, as vendors quote them ("sk-proj-ab***yz", at Moonshot "ak-…"), and the ids of the operator's organisation and
# project ("org-A1b2C3"), which unlike words have digits or capitals in them. Google names the project in the path of
# what it speaks of ("projects/my-project/locations/…"), or by its number.
_SECRET = re.compile(
    r"\b(?:(?i:bearer)\s+\S+"
    r"|(?i:ak|sk|gsk|pk|rk|xai|pplx|csk|fw|hf|nvapi|ghp|github_pat)[-_][\w*.\-]{4,}"
    r"|(?:org|proj|user|acct)[-_](?=\w*[0-9A-Z])\w{6,}"
    r"|projects/[^/\s`'\"?]+|(?i:project(?:[_ ]number)?)[:= ]{1,2}#?\d{6,}|project=[\w.:-]+)"
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


def shown(value: Any, limit: int = MAX_SHOWN) -> str:
    """A vendor's words as clients may see them: one line, without keys and account ids, cut to `limit` characters."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode() if value else ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    text = _SECRET.sub("[redacted]", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


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
    except ValueError:
        return None
    return max(until - since, 0.0)
