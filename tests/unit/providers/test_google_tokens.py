"""Where Google's tokens come from, and what is said where there are none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from pluggably.errors import BackendAuthenticationFailed, BackendError, BackendUnreachable
from pluggably.providers.credentials import Fetched
from pluggably.providers.google_files import SCOPE, Token
from pluggably.providers.google_tokens import TokenSource, google_signer
from pluggably.wire.codec import HttpReply

NOW = 1_800_000_000.0
KEY = RSAKey.generate_key(2048)
ACCOUNT = {
    "type": "service_account",
    "client_email": "box@acme.iam.gserviceaccount.com",
    "private_key": KEY.as_pem(private=True).decode(),
    "private_key_id": "k1",
    "token_uri": "https://oauth2.googleapis.com/token",
}
PERSON = {
    "type": "authorized_user",
    "client_id": "c",
    "client_secret": "s",
    "refresh_token": "r",
    "quota_project_id": "acme",
}
GIVEN = {"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"}

Answers = Callable[[str, str, Mapping[str, str], bytes], HttpReply]


def reply(body: object, status: int = 200) -> HttpReply:
    return HttpReply(status=status, headers={}, body=json.dumps(body).encode())


def unreachable(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
    raise BackendUnreachable("No connection.")


def token(
    credentials: object = None, environment: Mapping[str, str] | None = None, answers: Answers = unreachable
) -> Fetched[Token]:
    async def asks(method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
        return answers(method, url, headers, body)

    text = credentials if credentials is None or isinstance(credentials, str) else json.dumps(credentials)
    return asyncio.run(TokenSource("vertex", text, environment or {}, asks, lambda: NOW).fetch())


def test_a_service_account_signs_for_its_token() -> None:
    """A statement that its public key proves, for an hour, and for the whole of the cloud."""

    def google(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        assert (method, url) == ("POST", "https://oauth2.googleapis.com/token")
        form = parse_qs(body.decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        proved = jwt.decode(form["assertion"][0], KEY, algorithms=["RS256"])
        assert proved.header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
        assert proved.claims == {
            "iss": "box@acme.iam.gserviceaccount.com",
            "scope": SCOPE,
            "aud": "https://oauth2.googleapis.com/token",
            "iat": int(NOW),
            "exp": int(NOW) + 3600,
        }
        return reply(GIVEN)

    assert token(ACCOUNT, answers=google) == Fetched(Token("ya29.x"), NOW + 3599)


def test_a_persons_login_is_refreshed() -> None:
    """And the project that pays goes along."""

    def google(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        assert parse_qs(body.decode()) == {
            "grant_type": ["refresh_token"],
            "client_id": ["c"],
            "client_secret": ["s"],
            "refresh_token": ["r"],
        }
        return reply(GIVEN)

    assert token(PERSON, answers=google).value == Token("ya29.x", "acme")


def test_the_usual_places_are_looked_at_in_their_order(tmp_path: Path) -> None:
    """The file that the variable names, the one that gcloud writes, and then the machine."""
    urls = []

    def google(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        urls.append(url)
        return reply(GIVEN)

    named = tmp_path / "named.json"
    named.write_text(json.dumps({**PERSON, "token_uri": "https://named.test/"}))
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text(
        json.dumps({**PERSON, "token_uri": "https://gcloud.test/"})
    )
    home = {"HOME": str(tmp_path)}
    token(None, {**home, "GOOGLE_APPLICATION_CREDENTIALS": str(named)}, google)
    token(None, home, google)
    token(None, {"HOME": str(tmp_path / "empty"), "CLOUDSDK_CONFIG": str(folder)}, google)
    token(None, {"HOME": str(tmp_path / "empty")}, google)
    token(None, {"GCE_METADATA_HOST": "127.0.0.1:8080"}, google)
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    assert urls == [
        "https://named.test/",
        "https://gcloud.test/",
        "https://gcloud.test/",
        f"http://metadata.google.internal{path}",
        f"http://127.0.0.1:8080{path}",
    ]


def test_a_machine_is_asked_as_google_demands() -> None:
    """Without the header nothing is given."""

    def metadata(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        assert (method, headers["Metadata-Flavor"]) == ("GET", "Google")
        return reply(GIVEN)

    assert token(answers=metadata) == Fetched(Token("ya29.x"), NOW + 3599)


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ("not JSON s3cret", "no credentials file"),
        ({"type": "gdch_service_account"}, "gdch_service_account"),
        ({}, "does not take"),
        ({**ACCOUNT, "private_key": "s3cret"}, "no private key"),
    ],
)
def test_credentials_of_no_use_are_told_without_their_words(credentials: object, says: str) -> None:
    """What was given, and what is taken."""
    with pytest.raises(BackendAuthenticationFailed, match=says) as caught:
        token(credentials)
    assert "s3cret" not in caught.value.detail


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By its variable."""
    with pytest.raises(BackendAuthenticationFailed, match="GOOGLE_APPLICATION_CREDENTIALS"):
        token(None, {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "none.json")})


def test_no_credentials_at_all_are_told_with_every_way_to_give_them() -> None:
    """On a machine that is none of Google's."""
    with pytest.raises(BackendAuthenticationFailed, match="gcloud auth application-default login"):
        token()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            reply({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400),
            BackendAuthenticationFailed,
        ),
        (reply({}), BackendAuthenticationFailed),
        (HttpReply(status=200, headers={}, body=b"<html>"), BackendAuthenticationFailed),
        (reply({}, 503), BackendError),
    ],
)
def test_a_token_that_is_not_given_is_told(answer: HttpReply, kind: type[BackendError]) -> None:
    """A refusal is the operator's matter; a failure of Google may go away."""
    with pytest.raises(BackendError, match="gave no token") as caught:
        token(PERSON, answers=lambda *_: answer)
    assert type(caught.value) is kind


def test_a_signer_puts_the_token_in() -> None:
    """Beside the headers of the call, and the project that pays."""

    async def asks(method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
        return reply(GIVEN)

    signer = google_signer("vertex", json.dumps(PERSON), {}, asks=asks, clock=lambda: NOW)
    signed = asyncio.run(signer.sign("POST", "https://x.test/", {"Accept": "a"}, b"{}"))
    assert signed == {"Accept": "a", "Authorization": "Bearer ya29.x", "X-Goog-User-Project": "acme"}
