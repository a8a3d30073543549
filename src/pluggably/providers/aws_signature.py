"""AWS Signature Version 4: the headers that prove a call is ours, without sending the secret.

Pure: keys, a call and a time in, headers out. What surprises: a path is quoted twice. It stands quoted in the URL, and
the signature is over that form quoted again; only S3 does not do so.

Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html (2026-11).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class AwsKeys(Struct, frozen=True):
    """A pair of keys; a role's has a session token, too."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"AwsKeys({self.access_key_id[:4]}…)"


class AwsAccess(Struct, frozen=True, kw_only=True):
    """What the operator says: a pair of keys, or a profile of the shared files; nothing: look in the usual places."""

    keys: AwsKeys | None = None
    profile: str | None = None


def signed_headers(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: AwsKeys,
    region: str,
    service: str,
    at: datetime,
) -> dict[str, str]:
    """The headers to send beside `headers`, all of which are signed; `at` is the time in UTC."""
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    added = {"X-Amz-Date": stamp}
    if keys.session_token:
        added["X-Amz-Security-Token"] = keys.session_token
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ":80"))
    canonical = {name.lower(): " ".join(value.split()) for name, value in {**headers, **added, "host": host}.items()}
    names = ";".join(sorted(canonical))
    request = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/-_.~"),
            _canonical_query(parts.query),
            *(f"{name}:{canonical[name]}" for name in sorted(canonical)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = _signing_key(keys.secret_access_key, stamp[:8], region, service)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    added["Authorization"] = (
        f"{ALGORITHM} Credential={keys.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return added


def _canonical_query(query: str) -> str:
    pairs = [tuple(quote(unquote(side), safe="-_.~") for side in pair.partition("=")[::2]) for pair in query.split("&")]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs) if name or value)


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The same for all calls of a day."""
    key = f"AWS4{secret}".encode()
    for step in (day, region, service, "aws4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return key
