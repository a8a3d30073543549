"""AWS's own SDK and we find the same keys in the same files, and ask the same of the same servers.

The SDK runs in a process of its own, whose environment is what the test says, and no more.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from pluggably.errors import BackendAuthenticationFailed
from pluggably.providers.aws_keys import KeySource
from pluggably.providers.aws_signature import AwsAccess
from pluggably.testing.fake_bedrock import FakeBedrock, Recorded, running_fake_bedrock

SDK = """
import json, sys
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
try:
    found = Session().get_credentials()
    keys = found and found.get_frozen_credentials()
    print(json.dumps([keys.access_key, keys.secret_key, keys.token or None] if keys else None))
except (BotoCoreError, ClientError) as error:
    print(json.dumps(type(error).__name__))
"""
ROLE = "arn:aws:iam::123456789012:role/models"
KEYS = "aws_access_key_id = {0}\naws_secret_access_key = s{0}\n"
SSO = "sso_account_id = 123456789012\nsso_role_name = Models\n"
CORP = "[sso-session corp]\nsso_region = eu-north-1\nsso_start_url = https://corp.awsapps.com/start\n"
LEGACY = "sso_start_url = https://corp.awsapps.com/start\nsso_region = eu-north-1\n"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeBedrock]:
    with running_fake_bedrock() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws" / "sso" / "cache").mkdir(parents=True)
    for name, text in (
        ("keys", 'echo \'{"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "s", "SessionToken": "T"}\''),
        ("two", 'echo \'{"Version": 2, "AccessKeyId": "PROCESS", "SecretAccessKey": "s"}\''),
        ("fails", "exit 1"),
        ("args", 'printf \'{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "s"}\' "$1$2"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o700)
    (tmp_path / "token").write_text("eyJ.x.y")
    return tmp_path


def sign_in(home: Path, name: str = "corp", left_s: float = 7200, **more: str | None) -> Path:
    """What `aws sso login` leaves."""
    path = home / ".aws" / "sso" / "cache" / f"{hashlib.sha1(name.encode()).hexdigest()}.json"
    ends = datetime.now(UTC) + timedelta(seconds=left_s)
    token = {
        "startUrl": "https://corp.awsapps.com/start",
        "region": "eu-north-1",
        "accessToken": "sso-token-0",
        "expiresAt": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "clientId": "client",
        "clientSecret": "client-secret",
        "registrationExpiresAt": "2099-01-01T00:00:00Z",
        "refreshToken": "sso-refresh",
        **more,
    }
    path.write_text(json.dumps(token))
    return path


class Both:
    """What the SDK found and what we found, and what each asked for it."""

    def __init__(self, home: Path, fake: FakeBedrock, variables: Mapping[str, str]) -> None:
        address = {f"AWS_ENDPOINT_URL_{name}": fake.base_url for name in ("STS", "SSO", "SSO_OIDC")}
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": fake.base_url,
            "AWS_DEFAULT_REGION": "eu-west-1",
            **address,
            **variables,
        }
        self._fake = fake

    def theirs(self) -> tuple[object, list[Recorded]]:
        before = len(self._fake.requests)
        done = subprocess.run(
            [sys.executable, "-c", SDK], env=self._environment, capture_output=True, text=True, check=True, timeout=60
        )
        return json.loads(done.stdout), self._fake.requests[before:]

    def ours(self) -> tuple[object, list[Recorded]]:
        before = len(self._fake.requests)
        source = KeySource("bedrock", AwsAccess(), "eu-west-1", self._environment)
        try:
            keys = asyncio.run(source.fetch()).value
        except BackendAuthenticationFailed:
            return "refused", self._fake.requests[before:]
        return [keys.access_key_id, keys.secret_access_key, keys.session_token], self._fake.requests[before:]


def numberless(found: object) -> object:
    """Keys that the fake gave out, without their number."""
    return re.sub(r"(ASIAFAKE|sso-token-)\d+", r"\1N", json.dumps(found, sort_keys=True))


def asked(requests: list[Recorded]) -> list[object]:
    """What matters of them: where, with which token, and what for. A signature is only there or not."""
    told: list[object] = []
    for request in requests:
        parts = urlsplit(request.raw_path)
        kind = request.headers.get("content-type", "")
        body = request.body.decode()
        form = json.loads(body) if kind.startswith("application/json") else dict(parse_qsl(body))
        form.pop("RoleSessionName", None)  # each names its own
        token = numberless(request.headers.get("x-amz-sso_bearer_token"))
        signed = re.search(r"Credential=([^/]*)", request.headers.get("authorization", ""))
        told.append((request.method, parts.path, sorted(parse_qsl(parts.query)), token, form, signed and signed[1]))
    return told


PROFILES = {
    "keys in the config": ("", "[profile work]\n" + KEYS.format("CONFIG")),
    "keys in both files": ("[work]\n" + KEYS.format("CREDENTIALS"), "[profile work]\n" + KEYS.format("CONFIG")),
    "a program": ("", "[profile work]\ncredential_process = {home}/keys\n"),
    "a program with words": ("", '[profile work]\ncredential_process = {home}/args "two words" three\n'),
    "a program in the credentials": ("[work]\ncredential_process = {home}/keys\n", ""),
    "a program and keys in the config": (
        "",
        "[profile work]\ncredential_process = {home}/keys\n" + KEYS.format("CONFIG"),
    ),
    "a program and keys in the credentials": (
        "[work]\n" + KEYS.format("CREDENTIALS"),
        "[profile work]\ncredential_process = {home}/keys\n",
    ),
    "a role by keys": (
        "[base]\n" + KEYS.format("BASE"),
        f"[profile work]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = ours\nduration_seconds = 900\n",
    ),
    "a role by a role": (
        "[base]\n" + KEYS.format("BASE"),
        f"[profile work]\nrole_arn = {ROLE}2\nsource_profile = middle\n"
        f"[profile middle]\nrole_arn = {ROLE}1\nsource_profile = base\n",
    ),
    "a role by its own keys": (
        "",
        f"[profile work]\nrole_arn = {ROLE}\nsource_profile = work\n" + KEYS.format("OWN"),
    ),
    "a role by a program": (
        "",
        f"[profile work]\nrole_arn = {ROLE}\nsource_profile = tool\n[profile tool]\n"
        "credential_process = {home}/keys\n",
    ),
    "a role by a login": (
        "",
        f"[profile work]\nrole_arn = {ROLE}\nsource_profile = login\n[profile login]\nsso_session = corp\n{SSO}{CORP}",
    ),
    "a role by the machine": (
        "",
        f"[profile work]\nrole_arn = {ROLE}\ncredential_source = Ec2InstanceMetadata\n",
    ),
    "names in quotes": (
        "",
        f"[profile 'work']\nrole_arn = {ROLE}\nsource_profile = my base\n"
        '[profile "my base"]\n' + KEYS.format("BASE") + "[profile my base]\n" + KEYS.format("UNQUOTED"),
    ),
    "a session in quotes": ("", f"[profile work]\nsso_session = corp\n{SSO}" + CORP.replace(" corp]", ' "corp"]')),
    "a role by a token": ("", f"[profile work]\nrole_arn = {ROLE}\nweb_identity_token_file = {{home}}/token\n"),
    "a login by a session": ("", f"[profile work]\nsso_session = corp\n{SSO}{CORP}"),
    "a login and keys": ("", f"[profile work]\nsso_session = corp\n{SSO}{KEYS.format('CONFIG')}{CORP}"),
    "a region only": ("", "[profile work]\nregion = eu-west-1\n"),
}


@pytest.mark.parametrize("name", PROFILES)
def test_the_sdk_finds_the_same_keys(home: Path, fake: FakeBedrock, name: str) -> None:
    """In a profile of each kind, by the same questions."""
    credentials, config = (text.replace("{home}", str(home)) for text in PROFILES[name])
    (home / ".aws" / "credentials").write_text(credentials)
    (home / ".aws" / "config").write_text(config)
    sign_in(home)
    both = Both(home, fake, {"AWS_PROFILE": "work"})
    theirs, their_questions = both.theirs()
    ours, our_questions = both.ours()
    assert isinstance(theirs, list)
    assert numberless(ours) == numberless(theirs)
    assert numberless(asked(our_questions)) == numberless(asked(their_questions))


@pytest.mark.parametrize("left_s", [600, -600])
def test_the_sdk_renews_a_login_as_we_do(home: Path, fake: FakeBedrock, left_s: float) -> None:
    """By the same question, and each leaves what the other takes."""
    (home / ".aws" / "config").write_text(f"[profile work]\nsso_session = corp\n{SSO}{CORP}")
    both, kept = Both(home, fake, {"AWS_PROFILE": "work"}), []
    for find in (both.theirs, both.ours):
        path = sign_in(home, left_s=left_s)
        _, questions = find()
        kept.append((json.loads(path.read_bytes()), asked(questions)))
        assert [urlsplit(request.raw_path).path for request in questions] == ["/token", "/federation/credentials"]
    (their_token, their_questions), (our_token, our_questions) = kept
    assert numberless(our_questions) == numberless(their_questions)
    ends = [their_token.pop("expiresAt"), our_token.pop("expiresAt")]
    assert numberless(our_token) == numberless(their_token)
    first, second = (datetime.fromisoformat(end) for end in ends)
    assert abs((second - first).total_seconds()) < 60
    # What is left now serves both.
    assert [len(find()[1]) for find in (both.theirs, both.ours)] == [1, 1]


def test_the_sdk_reads_a_login_without_a_session(home: Path, fake: FakeBedrock) -> None:
    """Its file is named after the address."""
    (home / ".aws" / "config").write_text(f"[profile work]\n{LEGACY}{SSO}")
    sign_in(home, "https://corp.awsapps.com/start", left_s=600)
    both = Both(home, fake, {"AWS_PROFILE": "work"})
    (theirs, their_questions), (ours, our_questions) = both.theirs(), both.ours()
    assert numberless(ours) == numberless(theirs)
    assert numberless(asked(our_questions)) == numberless(asked(their_questions))


REFUSED = {
    "a program of another version": "[profile work]\ncredential_process = {home}/two\n",
    "a program that fails": "[profile work]\ncredential_process = {home}/fails\n",
    "a session that is not there": f"[profile work]\nsso_session = none\n{SSO}",
    "a session that says another thing": f"[profile work]\nsso_session = corp\nsso_region = x\n{SSO}{CORP}",
    "a login that lacks the role": f"[profile work]\nsso_session = corp\nsso_account_id = 123456789012\n{CORP}",
    "a login that is over": f"[profile work]\nsso_session = corp\n{SSO}{CORP}",
    "no such profile": "[profile other]\n" + KEYS.format("OTHER"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_sdk_refuses_what_we_refuse(home: Path, fake: FakeBedrock, name: str) -> None:
    """A profile that is wrong is never passed by for another place."""
    (home / ".aws" / "config").write_text(REFUSED[name].replace("{home}", str(home)))
    sign_in(home, left_s=-600, refreshToken="used-up")
    both = Both(home, fake, {"AWS_PROFILE": "work"})
    theirs, _ = both.theirs()
    assert isinstance(theirs, str)
    assert both.ours()[0] == "refused"
