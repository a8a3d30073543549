"""Google's own library and ours exchange credentials in the same way: the same addresses, forms and proofs.

The library asks through a callable, which here answers as the services do and keeps what was asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from google.auth import aws, external_account_authorized_user, identity_pool, impersonated_credentials

from pluggably.providers.aws_signature import AwsKeys, signed_headers
from pluggably.providers.google_files import SCOPE, FileExchange
from pluggably.providers.google_subjects import SubjectSource, Workload
from pluggably.wire.codec import HttpReply

AUDIENCE = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/there"
ACTS_FOR = (
    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/box@acme.iam.gserviceaccount.com"
    ":generateAccessToken"
)
VERIFY = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "session")


@dataclass
class Asked:
    method: str
    url: str
    authorization: str | None
    body: Any


def answered(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[Asked, bytes]:
    """What was asked, as data, and the answer of the service at this address."""
    asked = Asked(method, url, {key.lower(): value for key, value in headers.items()}.get("authorization"), None)
    if url.startswith("https://iamcredentials"):
        asked.body = {name: value for name, value in json.loads(body).items() if value}
        expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return asked, json.dumps({"accessToken": "ya29.lent", "expireTime": expires}).encode()
    asked.body = parse_qs(body.decode())
    return asked, json.dumps({"access_token": "ya29.given", "expires_in": 3599, "token_type": "Bearer"}).encode()


class Library:
    """The transport of Google's library."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def __call__(self, url: str, method: str = "GET", body: bytes | None = None, headers: Any = None, **_: Any) -> Any:
        if "/allowedLocations" in url:  # where a token may be used, which it asks beside the token
            return _Response(404, b"")
        content = body.encode() if isinstance(body, str) else body or b""
        asked, answer = answered(method, url, headers or {}, content)
        self.asked.append(asked)
        return _Response(200, answer)


@dataclass
class _Response:
    status: int
    data: bytes
    headers: Any = None


def ours(file: Mapping[str, Any]) -> tuple[list[Asked], str]:
    """What we ask for a file, and the token that comes of it."""
    seen: list[Asked] = []

    async def asks(method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
        asked, answer = answered(method, url, headers, body)
        seen.append(asked)
        return HttpReply(status=200, headers={}, body=answer)

    exchange = FileExchange("vertex", {}, asks, lambda: datetime.now(UTC).timestamp())
    token = asyncio.run(exchange.token_of(json.dumps(file), "the file"))
    return seen, token.value.text


@pytest.mark.parametrize("acts_for", [{}, {"service_account_impersonation_url": ACTS_FOR}])
@pytest.mark.parametrize("client", [{}, {"client_id": "c", "client_secret": "s"}])
def test_a_workload_is_exchanged_as_by_googles_library(
    acts_for: dict[str, str], client: dict[str, str], tmp_path: Path
) -> None:
    """The same calls in the same order, and the same token."""
    path = tmp_path / "token"
    path.write_text('{"id_token": "eyJ.subject"}')
    file = {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {
            "file": str(path),
            "format": {"type": "json", "subject_token_field_name": "id_token"},
        },
        **acts_for,
        **client,
    }
    library = Library()
    credentials = identity_pool.Credentials.from_info(file, scopes=[SCOPE])
    credentials.refresh(library)
    seen, token = ours(file)
    if acts_for:  # the library wants no more of its own token than that it may ask for another
        assert library.asked[0].body.pop("scope") == ["https://www.googleapis.com/auth/iam"]
        assert seen[0].body.pop("scope") == [SCOPE]
    assert (seen, token) == (library.asked, credentials.token)


def test_a_service_account_is_acted_for_as_by_googles_library() -> None:
    """By a person, through another account."""
    file = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": ACTS_FOR,
        "delegates": ["between@acme.iam.gserviceaccount.com"],
        "source_credentials": {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"},
    }
    library = Library()
    make = impersonated_credentials.Credentials.from_impersonated_service_account_info
    credentials = make(file, scopes=[SCOPE])
    credentials.refresh(library)
    seen, token = ours(file)
    assert (seen[-1], token) == (library.asked[-1], credentials.token)


def test_a_companys_login_is_renewed_as_by_googles_library() -> None:
    """With the refresh token of the Security Token Service."""
    file = {
        "type": "external_account_authorized_user",
        "audience": "//iam.googleapis.com/locations/global/workforcePools/pool/providers/there",
        "token_url": "https://sts.googleapis.com/v1/oauthtoken",
        "client_id": "c",
        "client_secret": "s",
        "refresh_token": "r",
    }
    library = Library()
    credentials = external_account_authorized_user.Credentials.from_info(file)
    credentials.refresh(library)
    assert ours(file) == (library.asked, credentials.token)


class Supplier(aws.AwsSecurityCredentialsSupplier):
    """Gives the library its keys, which it would look for in the process's environment."""

    def get_aws_security_credentials(self, context: Any, request: Any) -> aws.AwsSecurityCredentials:
        return aws.AwsSecurityCredentials(KEYS.access_key_id, KEYS.secret_access_key, KEYS.session_token)

    def get_aws_region(self, context: Any, request: Any) -> str:
        return "us-east-2"


def test_an_account_at_aws_proves_itself_as_by_googles_library() -> None:
    """The proof is the same to the last byte of its signature, made at the same moment."""
    credentials = aws.Credentials(
        audience=AUDIENCE,
        subject_token_type="urn:ietf:params:aws:token-type:aws4_request",
        token_url="https://sts.googleapis.com/v1/token",
        aws_security_credentials_supplier=Supplier(),
        scopes=[SCOPE],
    )
    theirs = _proof(credentials.retrieve_subject_token(Library()))
    at = datetime.strptime(theirs["headers"]["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    environment = {
        "AWS_ACCESS_KEY_ID": KEYS.access_key_id,
        "AWS_SECRET_ACCESS_KEY": KEYS.secret_access_key,
        "AWS_SESSION_TOKEN": KEYS.session_token or "",
        "AWS_REGION": "us-east-2",
    }

    async def nobody(*_: Any) -> HttpReply:
        raise AssertionError("nobody has to be asked")

    source = SubjectSource("vertex", environment, nobody, at.timestamp)
    workload = Workload(AUDIENCE, {"environment_id": "aws1", "regional_cred_verification_url": VERIFY}, "the file")
    proof = _proof(asyncio.run(source.token(workload)))
    # The library hands the pool's name along without signing it; Google recommends to sign it.
    unsigned = signed_headers("POST", theirs["url"], {}, b"", keys=KEYS, region="us-east-2", service="sts", at=at)
    assert theirs["headers"].pop("Authorization") == unsigned["Authorization"]
    assert "x-goog-cloud-target-resource" in proof["headers"].pop("Authorization")
    assert proof == theirs


def _proof(text: str) -> dict[str, Any]:
    call: dict[str, Any] = json.loads(unquote(text))
    call["headers"] = {pair["key"]: pair["value"] for pair in call["headers"]}
    return call
