"""Keys of IAM Identity Center: the token that `aws sso login` left, its renewal, and what is asked with it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pluggably.errors import BackendAuthenticationFailed, BackendError, BackendUnreachable
from pluggably.providers.aws_keys import KeySource
from pluggably.providers.aws_signature import AwsAccess, AwsKeys
from pluggably.providers.credentials import Fetched
from pluggably.wire.codec import HttpReply

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
START = "https://corp.awsapps.com/start"
SESSION = (
    "[profile work]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Models\n"
    f"[sso-session corp]\nsso_region = eu-north-1\nsso_start_url = {START}\n"
    "sso_registration_scopes = sso:account:access\n"
)
LEGACY = (
    f"[profile work]\nsso_start_url = {START}\nsso_region = eu-north-1\n"
    "sso_account_id = 123456789012\nsso_role_name = Models\n"
)
TOKEN = {
    "startUrl": START,
    "region": "eu-north-1",
    "accessToken": "secret-token",
    "expiresAt": "2026-11-23T20:00:00Z",
    "clientId": "client",
    "clientSecret": "client-secret",
    "registrationExpiresAt": "2027-02-01T00:00:00Z",
    "refreshToken": "secret-refresh",
}
KEYS = {
    "roleCredentials": {
        "accessKeyId": "AK",
        "secretAccessKey": "SK",
        "sessionToken": "T",
        "expiration": int(NOW + 3600) * 1000,
    }
}
PORTAL = "https://portal.sso.eu-north-1.amazonaws.com/federation/credentials?role_name=Models&account_id=123456789012"
OIDC = "https://oidc.eu-north-1.amazonaws.com/token"


class Center:
    """Answers as Identity Center does, or with the status that it is given for an address."""

    def __init__(self, **statuses: int) -> None:
        self.statuses = statuses
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float
    ) -> HttpReply:
        self.asked.append((method, url, headers, body))
        name = "portal" if "portal.sso" in url else "oidc"
        status = self.statuses.get(name, 200)
        if status == 0:
            raise BackendUnreachable("No connection.")
        new = {"accessToken": "new-token", "tokenType": "Bearer", "expiresIn": 28800, "refreshToken": "new-refresh"}
        answer: Any = (KEYS if name == "portal" else new) if status == 200 else {"message": "m"}
        return HttpReply(status=status, headers={}, body=json.dumps(answer).encode())

    @property
    def tokens(self) -> list[str]:
        return [headers["x-amz-sso_bearer_token"] for _, url, headers, _ in self.asked if "portal.sso" in url]


def source(home: Path, center: Center, config: str, clock: float = NOW) -> KeySource:
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws" / "config").write_text(config)
    environment = {"HOME": str(home)}
    return KeySource("bedrock", AwsAccess(profile="work"), "us-east-1", environment, center, lambda: clock)


def cached(home: Path, token: object, name: str = "corp") -> Path:
    folder = home / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha1(name.encode()).hexdigest()}.json"
    path.write_text(token if isinstance(token, str) else json.dumps(token))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(("config", "name"), [(SESSION, "corp"), (LEGACY, START)])
def test_keys_are_asked_for_with_the_token_of_the_login(tmp_path: Path, config: str, name: str) -> None:
    """The file is named after the session, or without one after the address; the region is that of the session."""
    path = cached(tmp_path, TOKEN, name)
    before = path.read_bytes()
    center = Center()
    assert asyncio.run(source(tmp_path, center, config).fetch()) == Fetched(AwsKeys("AK", "SK", "T"), NOW + 3600)
    assert [(method, url) for method, url, _, _ in center.asked] == [("GET", PORTAL)]
    assert center.tokens == ["secret-token"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("ends", ["2026-11-23T12:10:00Z", "2026-11-23T11:00:00Z", "2026-11-23T12:10:00UTC"])
def test_a_token_that_runs_out_is_renewed_and_kept(tmp_path: Path, ends: str) -> None:
    """The new one goes into the file, for nobody else to read, with everything else that stood there."""
    path = cached(tmp_path, {**TOKEN, "expiresAt": ends, "other": 1})
    center = Center()
    asyncio.run(source(tmp_path, center, SESSION).fetch())
    method, url, _, body = center.asked[0]
    assert (method, url) == ("POST", OIDC)
    assert json.loads(body) == {
        "grantType": "refresh_token",
        "clientId": "client",
        "clientSecret": "client-secret",
        "refreshToken": "secret-refresh",
    }
    assert center.tokens == ["new-token"]
    renewed = {"accessToken": "new-token", "refreshToken": "new-refresh", "expiresAt": "2026-11-23T20:00:00Z"}
    assert json.loads(path.read_bytes()) == {**TOKEN, "other": 1, **renewed}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_token_that_is_still_good_serves_where_it_cannot_be_renewed(tmp_path: Path) -> None:
    """Until it runs out; then the failure is told."""
    cached(tmp_path, {**TOKEN, "expiresAt": "2026-11-23T12:10:00Z"})
    for status in (400, 500, 0):
        center = Center(oidc=status)
        asyncio.run(source(tmp_path, center, SESSION).fetch())
        assert center.tokens == ["secret-token"]
    for status, kind in ((400, BackendAuthenticationFailed), (500, BackendError), (0, BackendUnreachable)):
        with pytest.raises(BackendError) as caught:
            asyncio.run(source(tmp_path, Center(oidc=status), SESSION, NOW + 900).fetch())
        assert type(caught.value) is kind


def test_a_token_that_cannot_be_written_is_kept_in_memory(tmp_path: Path) -> None:
    """It serves until the next one; the log tells of it, without the token."""
    folder = cached(tmp_path, {**TOKEN, "expiresAt": "2026-11-23T12:10:00Z"}).parent

    class Unwritable(Center):
        """The folder of the files is away while the token is renewed."""

        async def __call__(
            self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float
        ) -> HttpReply:
            if "oidc" in url:
                folder.rename(tmp_path / "away")
            elif not folder.exists():
                (tmp_path / "away").rename(folder)
            return await super().__call__(method, url, headers, body, limit_s)

    center = Unwritable()

    async def twice() -> None:
        one = source(tmp_path, center, SESSION)
        await one.fetch()
        await one.fetch()

    with capture_logs() as logs:
        asyncio.run(twice())
    assert center.tokens == ["new-token", "new-token"]
    assert len(center.asked) == 3
    assert [entry["event"] for entry in logs] == ["sso_token_not_kept"]
    assert "new-token" not in str(logs)


def test_who_signs_out_is_signed_out(tmp_path: Path) -> None:
    """`aws sso logout` takes the file away, and nothing is remembered over it."""
    path = cached(tmp_path, {**TOKEN, "expiresAt": "2026-11-23T12:10:00Z"})
    one = source(tmp_path, Center(), SESSION)
    asyncio.run(one.fetch())
    path.unlink()
    with pytest.raises(BackendAuthenticationFailed, match="nobody is signed in"):
        asyncio.run(one.fetch())


def test_a_token_that_somebody_else_renewed_meanwhile_serves(tmp_path: Path) -> None:
    """Of two who renew at once the second may be refused, and takes what the first has written."""
    path = cached(tmp_path, {**TOKEN, "expiresAt": "2026-11-23T11:00:00Z"})

    class Second(Center):
        async def __call__(
            self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float
        ) -> HttpReply:
            if "oidc" in url:
                path.write_text(json.dumps({**TOKEN, "accessToken": "firsts-token"}))
            return await super().__call__(method, url, headers, body, limit_s)

    center = Second(oidc=400)
    asyncio.run(source(tmp_path, center, SESSION).fetch())
    assert center.tokens == ["firsts-token"]


@pytest.mark.parametrize(
    "token",
    [
        None,
        "{",
        "[]",
        {"accessToken": "t"},
        {**TOKEN, "expiresAt": "soon"},
        {**TOKEN, "accessToken": "a\nb"},
        {**TOKEN, "expiresAt": "2026-11-23T11:00:00Z", "refreshToken": None},
        {**TOKEN, "expiresAt": "2026-11-23T11:00:00Z", "registrationExpiresAt": "2026-11-01T00:00:00Z"},
    ],
)
def test_who_is_not_signed_in_is_told_how_to(tmp_path: Path, token: object) -> None:
    """Without a token, with one that is none, or with one that is over and cannot be renewed."""
    if token is not None:
        cached(tmp_path, token)
    center = Center()
    with pytest.raises(BackendAuthenticationFailed, match="aws sso login --profile work"):
        asyncio.run(source(tmp_path, center, SESSION).fetch())
    assert center.asked == []


def test_a_login_without_a_session_is_never_renewed(tmp_path: Path) -> None:
    """AWS documents it as fixed."""
    cached(tmp_path, {**TOKEN, "expiresAt": "2026-11-23T12:10:00Z"}, START)
    center = Center()
    asyncio.run(source(tmp_path, center, LEGACY).fetch())
    assert center.tokens == ["secret-token"]
    with pytest.raises(BackendAuthenticationFailed, match="aws sso login"):
        asyncio.run(source(tmp_path, center, LEGACY, NOW + 900).fetch())


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, BackendAuthenticationFailed, "aws sso login"),
        (403, BackendAuthenticationFailed, "sso_role_name"),
        (404, BackendAuthenticationFailed, "sso_account_id"),
        (429, BackendError, "answered 429"),
        (503, BackendError, "answered 503"),
    ],
)
def test_a_portal_that_gives_no_keys_is_told(tmp_path: Path, status: int, kind: type, says: str) -> None:
    """What the operator can do is the operator's matter; what may go away is tried again."""
    cached(tmp_path, TOKEN)
    with pytest.raises(BackendError, match=says) as caught:
        asyncio.run(source(tmp_path, Center(portal=status), SESSION).fetch())
    assert type(caught.value) is kind
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (SESSION.replace("[sso-session corp]", "[sso-session other]"), r"no section `\[sso-session corp\]`"),
        (SESSION.replace("sso_role_name = Models\n", ""), "lacks sso_role_name"),
        (SESSION.replace("[sso-session", "sso_region = x\n[sso-session"), "sso_region of the profile"),
        (SESSION.replace("eu-north-1", "evil.example/"), "not the name of one"),
    ],
)
def test_a_profile_that_is_not_whole_is_told(tmp_path: Path, config: str, says: str) -> None:
    """By the name of what is missing or wrong, before anything is asked."""
    cached(tmp_path, TOKEN)
    center = Center()
    with pytest.raises(BackendAuthenticationFailed, match=says):
        asyncio.run(source(tmp_path, center, config).fetch())
    assert center.asked == []


def test_china_has_a_suffix_of_its_own(tmp_path: Path) -> None:
    """As all of its addresses have."""
    cached(tmp_path, TOKEN)
    center = Center()
    asyncio.run(source(tmp_path, center, SESSION.replace("eu-north-1", "cn-north-1")).fetch())
    assert center.asked[0][1].startswith("https://portal.sso.cn-north-1.amazonaws.com.cn/federation/credentials?")
