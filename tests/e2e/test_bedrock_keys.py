"""Bedrock through the gateway, by every way to keys that a profile has, and what its account may see of models."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from e2e.harness import Client, Gateway, Reply, eventually, process_lives, start_gateway
from pluggably.testing.fake_bedrock import FakeBedrock, running_fake_bedrock

# Prints keys that are good for two seconds, and counts how often it is asked.
TOOL = """
import datetime, json, sys
with open({runs!r}, "a") as runs:
    runs.write("x")
ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
keys = {{"Version": 1, "AccessKeyId": "AKTOOL", "SecretAccessKey": "tool-secret", "SessionToken": "tool-session"}}
print(json.dumps({{**keys, "Expiration": ends.isoformat()}}))
"""
HANGS = """
import os, sys, time
print("hanging-secret", file=sys.stderr, flush=True)
with open({pid!r}, "w") as file:
    file.write(str(os.getpid()))
time.sleep(600)
"""
RUBBISH = 'import sys; print("rubbish-secret"); print("rubbish-secret", file=sys.stderr)'
FAILS = 'import sys; print("failing-secret"); sys.exit("failing-secret")'
SECRETS = (
    "tool-secret",
    "tool-session",
    "hanging-secret",
    "rubbish-secret",
    "failing-secret",
    "fake/secret",
    "profile-s",
)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeBedrock]:
    with running_fake_bedrock() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def gateway(fake: FakeBedrock, folder: Path) -> Iterator[Gateway]:
    """A gateway with a provider for each kind of profile, one without the permission to list, and one without any."""
    texts = {
        "tool": TOOL.format(runs=str(folder / "runs")),
        "hangs": HANGS.format(pid=str(folder / "pid")),
        "rubbish": RUBBISH,
        "fails": FAILS,
    }
    profiles = ["[profile keys]\naws_access_key_id = AKPROFILE\naws_secret_access_key = profile-s\n"]
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
        profiles.append(f"[profile {name}]\ncredential_process = {sys.executable} {folder / name}.py\n")
    login = "sso_account_id = 123456789012\nsso_role_name = Models\n"
    profiles.append(f"[profile login]\nsso_session = corp\n{login}[profile nobody]\nsso_session = other\n{login}")
    start = "sso_region = eu-north-1\nsso_start_url = https://corp.example\n"
    profiles.append(f"[sso-session corp]\n{start}[sso-session other]\n{start}")
    profiles.append("[profile factor]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = keys\nmfa_serial = m\n")
    home = folder / ".aws"
    cache = home / "sso" / "cache"
    cache.mkdir(parents=True)
    (home / "config").write_text("".join(profiles))
    token = {
        "accessToken": "sso-token-0",
        "expiresAt": (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "clientId": "client",
        "clientSecret": "client-secret",
        "registrationExpiresAt": "2099-01-01T00:00:00Z",
        "refreshToken": "sso-refresh",
    }
    (cache / f"{hashlib.sha1(b'corp').hexdigest()}.json").write_text(json.dumps(token))
    unset = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONFIG_FILE")
    with running_fake_bedrock() as denied:
        denied.refuses |= {"/foundation-models", "/inference-profiles"}
        address = {"preset": "bedrock", "variables": {"region": "eu-west-1"}}
        config = {
            "providers": {
                **{
                    name: {**address, "base_url": fake.base_url, "aws": [{"profile": name}]}
                    for name in ("keys", *texts, "login", "nobody", "factor")
                },
                "denied": {**address, "base_url": denied.base_url, "aws": [{"profile": "keys"}]},
            },
            "demo": False,
        }
        variables = {
            **dict.fromkeys(unset, ""),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
            "AWS_ENDPOINT_URL_SSO": fake.base_url,
            "AWS_ENDPOINT_URL_SSO_OIDC": fake.base_url,
        }
        with start_gateway(folder, config, **variables) as running:
            yield running


@pytest.fixture
def client(gateway: Gateway) -> Client:
    return gateway.client


@pytest.fixture(scope="module", autouse=True)
def hanging(gateway: Gateway) -> Iterator[Future[Reply]]:
    """A request whose credentials hang, begun before all others: it takes as long as a program may."""
    with ThreadPoolExecutor(1) as pool:
        body = {"model": "hangs/echo", "input": "Hi", "routing": {"fallbacks": False}}
        yield pool.submit(gateway.client.post, "/v1/generations", body, timeout_s=60.0)


def test_keys_of_a_profile(client: Client, fake: FakeBedrock) -> None:
    """They sign the call."""
    assert client.answer("keys/echo", "Hi")["output"][0]["text"] == "Hi"
    assert "Credential=AKPROFILE/" in fake.asked("/converse")[-1].headers["authorization"]


def test_keys_of_a_program_are_renewed_while_requests_run(client: Client, fake: FakeBedrock, folder: Path) -> None:
    """They run out every two seconds, and no request ever fails; the program is asked once for each time."""
    runs = folder / "runs"
    answered = 0

    def renewed() -> bool:
        nonlocal answered
        with ThreadPoolExecutor(4) as pool:
            for generation in pool.map(lambda _: client.answer("tool/echo", "Hi"), range(4)):
                assert generation["output"][0]["text"] == "Hi"
                answered += 1
        return len(runs.read_text()) >= 3

    eventually(renewed, 30, "the program is asked three times")
    assert len(runs.read_text()) < answered
    tools = [one for one in fake.asked("/converse") if "Credential=AKTOOL/" in one.headers["authorization"]]
    assert len(tools) == answered
    assert {one.headers["x-amz-security-token"] for one in tools} == {"tool-session"}


def test_keys_of_a_login_are_renewed_while_requests_run(client: Client, fake: FakeBedrock, folder: Path) -> None:
    """The login's token is renewed first, since it runs out soon, and kept for the next who needs it; keys that have
    run out sign nothing."""
    fake.lifetime_s = 3.0

    def signers() -> set[str]:
        sent = [one.headers["authorization"] for one in fake.asked("/converse")]
        return {one.partition("Credential=")[2].partition("/")[0] for one in sent if "Credential=ASIAFAKE" in one}

    def renewed() -> bool:
        assert client.answer("login/echo", "Hi")["output"][0]["text"] == "Hi"
        assert client.stream("login/say-3", "Hi").end()["status"] == "completed"
        return len(signers()) >= 3

    eventually(renewed, 30, "three sets of keys have signed")
    fake.lifetime_s = 3600.0
    (kept,) = (folder / ".aws" / "sso" / "cache").iterdir()
    assert json.loads(kept.read_bytes())["accessToken"].startswith("sso-token-")
    assert json.loads(kept.read_bytes())["accessToken"] != "sso-token-0"


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ("rubbish", "the `credential_process` of the profile `rubbish` did not print keys"),
        ("fails", "the `credential_process` of the profile `fails` ended with status 1"),
        ("nobody", "aws sso login --profile nobody"),
        ("factor", "a gateway has nobody to type it"),
    ],
)
def test_a_profile_that_gives_no_keys_is_told(client: Client, fake: FakeBedrock, provider: str, says: str) -> None:
    """With what to do, plain and streamed, before any call of a model."""
    before = len(fake.asked("/model/"))
    reply = client.generate(f"{provider}/echo", routing={"fallbacks": False})
    assert (reply.status, reply.json()["code"]) == (502, "backend_authentication_failed")
    assert says in reply.json()["detail"]
    refusal = client.stream(f"{provider}/echo").refusal
    assert refusal is not None
    assert refusal.json()["code"] == "backend_authentication_failed"
    assert len(fake.asked("/model/")) == before


def test_the_models_are_listed(client: Client, fake: FakeBedrock) -> None:
    """Those that can be had on demand, and profiles in place of those that cannot, with what they take and make; each
    list is asked for with a signature that AWS's own library makes, too."""

    def listed() -> dict[str, tuple[object, ...]] | None:
        models = client.get("/v1/models?limit=100").json()["data"]
        facts = ("name", "input_modalities", "output_modalities")
        found = {
            model["id"]: (*(model[fact] for fact in facts), model["capabilities"]["streaming"])
            for model in models
            if model["id"].startswith("keys/")
        }
        return found or None

    assert eventually(listed, 10, "there is a list") == {
        "keys/amazon.nova-lite-v1:0": ("Nova Lite", ["text", "image"], ["text"], True),
        "keys/amazon.titan-embed-text-v2:0": ("Titan Text Embeddings", ["text"], ["embedding"], False),
        "keys/eu.meta.llama4-scout-17b-instruct-v1:0": ("EU Llama 4 Scout", ["text", "image"], ["text"], True),
    }
    for path in ("/foundation-models", "/inference-profiles"):
        request = next(
            one
            for one in fake.asked(path)
            if one.headers.get("authorization", "").partition("Credential=")[2].startswith("AKPROFILE/")
        )
        names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        again = AWSRequest("GET", fake.base_url + request.raw_path, {name: request.headers[name] for name in names})
        again.context["timestamp"] = request.headers["x-amz-date"]
        signer = SigV4Auth(Credentials("AKPROFILE", "profile-s"), "bedrock", "eu-west-1")
        signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
        assert request.headers["authorization"].rpartition("Signature=")[2] == signature


def test_an_account_that_may_not_list_is_served_all_the_same(gateway: Gateway, client: Client) -> None:
    """The list says why it lacks its models, and so does one line of the log."""

    def told() -> str | None:
        warnings = client.get("/v1/models").json()["warnings"]
        return next((one["detail"] for one in warnings if one["backend"] == "denied"), None)

    detail = "The provider refused its credential for the list of models at /foundation-models (403)."
    eventually(lambda: told() == detail, 10, "the refusal is told")
    assert client.answer("denied/echo", "Hi")["output"][0]["text"] == "Hi"
    lines = [line for line in gateway.log_lines("model_list_failed") if line["provider"] == "denied"]
    assert [line["detail"] for line in lines] == [detail]


def test_a_program_that_hangs_is_told_and_killed(hanging: Future[Reply], folder: Path) -> None:
    """When its time is over."""
    reply = hanging.result(60)
    assert (reply.status, reply.json()["code"]) == (502, "backend_authentication_failed")
    assert "the `credential_process` of the profile `hangs` did not end within 20 s" in reply.json()["detail"]
    pid = int((folder / "pid").read_text())
    eventually(lambda: not process_lives(pid), 5, "the program is gone")


def test_the_secrets_are_in_no_log(gateway: Gateway, client: Client) -> None:
    """Neither what the programs printed, nor keys, tokens or signatures."""
    client.answer("keys/echo")
    assert gateway.log_lines("credential_not_renewed") != []
    text = gateway.printed() + gateway.logged()
    for secret in (*SECRETS, "client-secret", "sso-token-", "sso-refresh", "Signature="):
        assert secret not in text
