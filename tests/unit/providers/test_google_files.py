"""What credentials files are exchanged for: workloads elsewhere, and whoever acts for a service account."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pluggably.errors import BackendAuthenticationFailed, BackendError
from pluggably.providers.credentials import Fetched
from pluggably.providers.google_files import SCOPE, CredentialsFile, FileExchange, Token
from pluggably.providers.google_subjects import Workload
from pluggably.wire.codec import HttpReply

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
AUDIENCE = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/there"
ACTS_FOR = (
    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/box@acme.iam.gserviceaccount.com"
    ":generateAccessToken"
)
WORKLOAD = {
    "type": "external_account",
    "audience": AUDIENCE,
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {"url": "http://localhost:5000/token"},
}
PERSON = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
GIVEN = {"access_token": "ya29.federated", "expires_in": 3599, "token_type": "Bearer"}
LENT = {"accessToken": "ya29.lent", "expireTime": "2026-11-23T13:00:00Z"}

Answers = Callable[[str, str, Mapping[str, str], bytes], HttpReply]


def reply(body: object, status: int = 200) -> HttpReply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status=status, headers={}, body=content)


class Internet:
    """Answers by the host that is asked, and keeps what was asked."""

    def __init__(self, **answers: HttpReply) -> None:
        self.asked: list[tuple[str, Mapping[str, str], bytes]] = []
        self._answers = {
            "http://localhost:5000/token": reply(b"eyJ.subject\n"),
            "https://sts.googleapis.com/v1/token": answers.get("sts", reply(GIVEN)),
            "https://oauth2.googleapis.com/token": reply({**GIVEN, "access_token": "ya29.person"}),
            ACTS_FOR: answers.get("iam", reply(LENT)),
        }

    async def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
        self.asked.append((url, headers, body))
        return self._answers[url]

    def form(self, place: int) -> dict[str, str]:
        return {name: value for name, (value,) in parse_qs(self.asked[place][2].decode()).items()}

    def token(self, file: Mapping[str, Any]) -> Fetched[Token]:
        exchange = FileExchange("vertex", {}, self.ask, lambda: NOW)
        return asyncio.run(exchange.token_of(json.dumps(file), "the credentials in the config"))


def test_a_workloads_token_is_exchanged() -> None:
    """By the form of RFC 8693, for the whole of the cloud; who runs the workload pays."""
    internet = Internet()
    assert internet.token({**WORKLOAD, "quota_project_id": "acme"}) == Fetched(
        Token("ya29.federated", "acme"), NOW + 3599
    )
    assert [url for url, _, _ in internet.asked] == ["http://localhost:5000/token", WORKLOAD["token_url"]]
    assert internet.form(1) == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": AUDIENCE,
        "scope": SCOPE,
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": "eyJ.subject",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }


@pytest.mark.parametrize(
    ("said", "lifetime"),
    [({}, "3600s"), ({"service_account_impersonation": {"token_lifetime_seconds": 2800}}, "2800s")],
)
def test_a_workload_acts_for_a_service_account(said: dict[str, Any], lifetime: str) -> None:
    """With the token that it got, for the time that the file says; the account's token is the one that is used."""
    internet = Internet()
    token = internet.token({**WORKLOAD, "service_account_impersonation_url": ACTS_FOR, **said})
    assert token == Fetched(Token("ya29.lent"), NOW + 3600)
    url, headers, body = internet.asked[2]
    assert (url, headers["Authorization"]) == (ACTS_FOR, "Bearer ya29.federated")
    assert json.loads(body) == {"scope": [SCOPE], "lifetime": lifetime}


def test_a_person_acts_for_a_service_account() -> None:
    """Through others, where the file names them: what `gcloud auth application-default login
    --impersonate-service-account` writes."""
    internet = Internet()
    file = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": ACTS_FOR,
        "source_credentials": PERSON,
        "delegates": ["between@acme.iam.gserviceaccount.com"],
        "quota_project_id": "acme",
    }
    assert internet.token(file) == Fetched(Token("ya29.lent", "acme"), NOW + 3600)
    url, headers, body = internet.asked[1]
    assert (url, headers["Authorization"]) == (ACTS_FOR, "Bearer ya29.person")
    assert json.loads(body)["delegates"] == ["between@acme.iam.gserviceaccount.com"]


def test_a_workforce_says_which_project_it_works_for() -> None:
    """Unless a client's own credentials say so."""
    internet = Internet()
    internet.token({**WORKLOAD, "workforce_pool_user_project": "acme"})
    assert internet.form(1)["options"] == "%7B%22userProject%22%3A%22acme%22%7D"
    internet.token({**WORKLOAD, "workforce_pool_user_project": "acme", "client_id": "c", "client_secret": "s"})
    assert "options" not in internet.form(3)
    assert internet.asked[3][1]["Authorization"] == "Basic Yzpz"


@pytest.mark.parametrize("path", ["oauthtoken", "oauth/token"])
def test_a_person_logs_in_through_a_company(path: str) -> None:
    """By a refresh token of Google's Security Token Service, and by the next one where it is replaced."""
    url = f"https://sts.googleapis.com/v1/{path}"
    asked: list[tuple[Mapping[str, str], dict[str, list[str]]]] = []

    async def ask(method: str, at: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
        assert (method, at) == ("POST", url)
        asked.append((headers, parse_qs(body.decode())))
        return reply({**GIVEN, "refresh_token": "next"} if len(asked) == 1 else GIVEN)

    file = {**PERSON, "type": "external_account_authorized_user", "audience": "//x", "token_url": url}
    exchange = FileExchange("vertex", {}, ask, lambda: NOW)
    for _ in range(2):
        told = asyncio.run(exchange.token_of(json.dumps({**file, "quota_project_id": "acme"}), "the file"))
        assert told == Fetched(Token("ya29.federated", "acme"), NOW + 3599)
    assert [headers["Authorization"] for headers, _ in asked] == ["Basic Yzpz"] * 2
    assert [form for _, form in asked] == [
        {"grant_type": ["refresh_token"], "refresh_token": [token]} for token in ("r", "next")
    ]


def test_a_refresh_token_goes_only_to_google() -> None:
    """The address stands in the file."""
    file = {**PERSON, "type": "external_account_authorized_user", "token_url": "https://evil.test/v1/oauthtoken"}
    internet = Internet()
    with pytest.raises(BackendAuthenticationFailed, match="no address of Google"):
        internet.token(file)
    assert internet.asked == []


@pytest.mark.parametrize(
    ("field", "url"),
    [
        ("token_url", "https://sts.googleapis.com.evil.test/v1/token"),
        ("token_url", "https://evil.test/v1/token?.googleapis.com/v1/token"),
        ("token_url", "https://evil.test#.googleapis.com/v1/token"),
        ("token_url", "https://sts.googleapis.com@evil.test/v1/token"),
        ("token_url", "https://user@sts.googleapis.com/v1/token"),
        ("token_url", "http://sts.googleapis.com/v1/token"),
        ("token_url", "https://sts.googleapis.com/v1/other"),
        ("token_url", "https://storage.googleapis.com/v1/token"),
        ("token_url", "https://sts.evil.test/.googleapis.com/v1/token"),
        ("token_url", ""),
        ("service_account_impersonation_url", "https://evil.test/v1/projects/-/serviceAccounts/x:generateAccessToken"),
        ("service_account_impersonation_url", ACTS_FOR.replace("generateAccessToken", "signJwt")),
        ("service_account_impersonation_url", ACTS_FOR.replace("box@", "../box@")),
        ("service_account_impersonation_url", ""),
    ],
)
def test_nothing_is_sent_to_an_address_that_is_not_googles(field: str, url: str) -> None:
    """Not even the workload's token is fetched."""
    internet = Internet()
    with pytest.raises(BackendAuthenticationFailed, match=rf"`{field}` of the credentials in the config"):
        internet.token({**WORKLOAD, field: url})
    assert internet.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://us-east1-sts.googleapis.com/v1/token",
        "https://sts.mtls.googleapis.com/v1/token",
        "https://sts-mine.p.googleapis.com/v1/token",
    ],
)
def test_all_of_googles_own_addresses_are_taken(url: str) -> None:
    """Regional and private ones, too."""
    asked = []

    async def asks(method: str, given: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
        asked.append(given)
        return reply(GIVEN)

    exchange = FileExchange("vertex", {}, asks, lambda: NOW)
    asyncio.run(exchange.token_of(json.dumps({**WORKLOAD, "token_url": url}), "it"))
    assert asked == ["http://localhost:5000/token", url]


@pytest.mark.parametrize(
    ("answers", "kind", "says"),
    [
        ({"sts": reply({"error": "invalid_grant"}, 400)}, BackendAuthenticationFailed, "invalid_grant.*the pool"),
        ({"sts": reply(b"<html>", 503)}, BackendError, "status 503"),
        ({"iam": reply({"error": {"code": 403}}, 403)}, BackendAuthenticationFailed, "workloadIdentityUser"),
        ({"iam": reply(b"<html>")}, BackendAuthenticationFailed, "status 200"),
        ({"iam": reply({"accessToken": "x", "expireTime": "soon"})}, BackendAuthenticationFailed, "status 200"),
        ({"iam": reply({}, 500)}, BackendError, "status 500"),
    ],
)
def test_a_token_that_is_not_given_is_told(answers: dict[str, HttpReply], kind: type[BackendError], says: str) -> None:
    """With what to do, where something can be done; no token is in the words."""
    with pytest.raises(BackendError, match=says) as caught:
        Internet(**answers).token({**WORKLOAD, "service_account_impersonation_url": ACTS_FOR})
    assert type(caught.value) is kind
    assert "eyJ" not in caught.value.detail
    assert "ya29" not in caught.value.detail


def test_a_file_does_not_show_its_secrets() -> None:
    """In a log, or in a traceback's locals."""
    file = CredentialsFile(type="service_account", private_key="s3cret", refresh_token="s3cret", client_secret="s3cret")
    assert repr(file) == "CredentialsFile('service_account')"
    assert "s3cret" not in repr(Workload(AUDIENCE, {"headers": {"Authorization": "s3cret"}}, "it"))


def test_seconds_may_be_a_text() -> None:
    """Some services say them so."""
    token = Internet(sts=reply({**GIVEN, "expires_in": "1800"})).token(WORKLOAD)
    assert token.expires_at == NOW + 1800


@pytest.mark.parametrize(
    ("source", "says"),
    [(None, "are of the type ``"), ({"type": "impersonated_service_account"}, "impersonated_service_account")],
)
def test_nobody_acts_for_a_service_account_through_nobody(source: object, says: str) -> None:
    """Nor through another one that acts for somebody."""
    file = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": ACTS_FOR,
        "source_credentials": source,
    }
    with pytest.raises(BackendAuthenticationFailed, match=says):
        Internet().token(file)


def test_a_workloads_token_may_stand_in_a_file(tmp_path: Path) -> None:
    """Read when it is needed."""
    path = tmp_path / "token"
    path.write_text("eyJ.file")
    internet = Internet()
    internet.token({**WORKLOAD, "credential_source": {"file": str(path)}})
    assert internet.form(0)["subject_token"] == "eyJ.file"
