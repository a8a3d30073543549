"""Where AWS keys are found, in which order, and what is said where there are none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from pluggably.errors import BackendAuthenticationFailed, BackendError, BackendUnreachable
from pluggably.providers.aws_keys import KeySource, aws_signer
from pluggably.providers.aws_signature import AwsAccess, AwsKeys
from pluggably.providers.credentials import Fetched
from pluggably.wire.codec import HttpReply

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
LATER = "2026-11-23T13:00:00Z"
ROLE = "arn:aws:iam::123456789012:role/models"
METADATA = {"Code": "Success", "AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "T", "Expiration": LATER}
STS = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK"
    f"</SecretAccessKey><SessionToken>T</SessionToken><Expiration>{LATER}</Expiration></Credentials>"
    "</AssumeRoleResult></AssumeRoleResponse>"
)

Answers = Callable[[str, str, Mapping[str, str], bytes], HttpReply]


def reply(body: object = b"", status: int = 200) -> HttpReply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status=status, headers={}, body=content)


def unreachable(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
    raise BackendUnreachable("No connection.")


def found(
    environment: Mapping[str, str], answers: Answers = unreachable, access: AwsAccess | None = None
) -> Fetched[AwsKeys]:
    async def asks(method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
        return answers(method, url, headers, body)

    source = KeySource("bedrock", access or AwsAccess(), "eu-west-1", environment, asks, lambda: NOW)
    return asyncio.run(source.fetch())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    return tmp_path


def write(home: Path, credentials: str = "", config: str = "") -> dict[str, str]:
    (home / ".aws" / "credentials").write_text(credentials)
    (home / ".aws" / "config").write_text(config)
    return {"HOME": str(home)}


def test_keys_of_the_config_come_first() -> None:
    """Nothing else is looked at."""
    access = AwsAccess(keys=AwsKeys("AK", "SK"))
    assert (
        found({"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "s"}, access=access).value.access_key_id == "AK"
    )


def test_keys_of_the_environment_come_with_their_token() -> None:
    """They never run out as far as anybody knows."""
    variables = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_SESSION_TOKEN": "T"}
    assert found(variables) == Fetched(AwsKeys("AK", "SK", "T"))


def test_half_a_pair_of_keys_is_told() -> None:
    """By the name of the other half."""
    with pytest.raises(BackendAuthenticationFailed, match="AWS_SECRET_ACCESS_KEY is not set"):
        found({"AWS_ACCESS_KEY_ID": "AK"})


def test_a_profile_is_read_from_both_files(home: Path) -> None:
    """The file of credentials stands over that of the config, and the keys are read again after some minutes."""
    variables = write(
        home,
        "[work]\naws_access_key_id = AK\naws_secret_access_key = SK%1\n",
        "[profile work]\naws_access_key_id = old\naws_session_token = T\n[sso-session work]\nsso_region = x\n",
    )
    got = found({**variables, "AWS_PROFILE": "work"})
    assert got.value == AwsKeys("AK", "SK%1", "T")
    assert got.expires_at is not None
    assert NOW < got.expires_at <= NOW + 3600
    assert found(variables, access=AwsAccess(profile="work")).value.access_key_id == "AK"


def test_the_default_profile_needs_no_name(home: Path) -> None:
    """As with AWS's own tools."""
    variables = write(home, "[default]\naws_access_key_id = AK\naws_secret_access_key = SK\n")
    assert found(variables).value == AwsKeys("AK", "SK")


def test_the_files_may_stand_elsewhere(tmp_path: Path) -> None:
    """Where AWS_SHARED_CREDENTIALS_FILE says."""
    path = tmp_path / "keys"
    path.write_text("[default]\naws_access_key_id = AK\naws_secret_access_key = SK\n")
    assert found({"AWS_SHARED_CREDENTIALS_FILE": str(path)}).value == AwsKeys("AK", "SK")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("[profile work]\nsso_session = corp\n", "sso_role_name"),
        ("[profile work]\nlogin_session = arn\n", "aws configure export-credentials --profile work"),
        ("[profile work]\ncredential_process = 'keys\n", "check its quotes"),
        ("[profile work]\ncredential_process = /nowhere/keys SECRET\n", "cannot be started: No such file"),
        ("[profile work]\nrole_arn = r\nsource_profile = base\nmfa_serial = m\n", "second factor"),
        ("[profile work]\naws_access_key_id = AK\n", "has no keys"),
        ("[profile work]\nrole_arn = r\n", "no `source_profile`"),
        (
            "[profile work]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = q\nsource_profile = work\n",
            "itself",
        ),
        ("[profile other]\n", "no profile `work`"),
        ("aws_secret_access_key = SECRET\n", "not of the form"),
    ],
)
def test_a_profile_that_gives_no_keys_is_told_with_what_to_do(home: Path, config: str, says: str) -> None:
    """In words for the operator, and never with a line of the file."""
    with pytest.raises(BackendAuthenticationFailed, match=says) as caught:
        found({**write(home, config=config), "AWS_PROFILE": "work"})
    assert "SECRET" not in caught.value.detail


@pytest.mark.parametrize("name", ["default", "work"])
def test_a_profile_that_says_nothing_of_keys_is_passed_by(home: Path, name: str) -> None:
    """Many name a region only, and the role of the machine counts then; but one that the config names is meant."""

    def metadata(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        return reply(b"models") if url.endswith(("token", "/")) else reply(METADATA)

    variables = write(home, config=f"[{'default' if name == 'default' else 'profile work'}]\nregion = eu-west-1\n")
    assert found({**variables, "AWS_PROFILE": name}, metadata).value == AwsKeys("AK", "SK", "T")
    with pytest.raises(BackendAuthenticationFailed, match="has no keys"):
        found(variables, metadata, AwsAccess(profile=name))


def test_a_profiles_role_is_taken_with_the_keys_of_another(home: Path) -> None:
    """By a signed question to the security token service of the region."""
    seen = []

    def sts(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        seen.append((method, url, headers["Authorization"], parse_qs(body.decode())))
        return reply(STS.encode())

    variables = write(
        home,
        "[base]\naws_access_key_id = BASE\naws_secret_access_key = s\n",
        f"[profile work]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = x\nduration_seconds = 900\n",
    )
    got = found({**variables, "AWS_PROFILE": "work"}, sts)
    assert got == Fetched(AwsKeys("AK", "SK", "T"), NOW + 3600)
    ((method, url, authorization, form),) = seen
    assert (method, url) == ("POST", "https://sts.eu-west-1.amazonaws.com/")
    assert "Credential=BASE/20261123/eu-west-1/sts/aws4_request" in authorization
    assert form["Action"] == ["AssumeRole"]
    assert (form["RoleArn"], form["ExternalId"], form["DurationSeconds"]) == ([ROLE], ["x"], ["900"])


def test_a_role_is_taken_with_a_web_identity(tmp_path: Path) -> None:
    """With the token as it is in its file now, and no signature."""
    token = tmp_path / "token"
    token.write_text("eyJ.x.y\n")
    variables = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_SESSION_NAME": "box"}

    def sts(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        form = parse_qs(body.decode())
        assert "Authorization" not in headers
        assert form["Action"] == ["AssumeRoleWithWebIdentity"]
        assert (form["WebIdentityToken"], form["RoleSessionName"]) == (["eyJ.x.y"], ["box"])
        return reply(STS.encode())

    assert found(variables, sts).value == AwsKeys("AK", "SK", "T")
    token.unlink()
    with pytest.raises(BackendAuthenticationFailed, match="cannot be read"):
        found(variables, sts)


@pytest.mark.parametrize(("status", "kind"), [(403, BackendAuthenticationFailed), (500, BackendError)])
def test_a_role_that_is_refused_is_told(tmp_path: Path, status: int, kind: type[BackendError]) -> None:
    """A refusal is the operator's matter; a failure of AWS may go away."""
    token = tmp_path / "token"
    token.write_text("t")
    answer = reply(
        b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>m</Message></Error></ErrorResponse>", status
    )
    with pytest.raises(BackendError, match="AccessDenied") as caught:
        found({"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}, lambda *_: answer)
    assert type(caught.value) is kind


def test_a_containers_keys_come_from_its_agent(tmp_path: Path) -> None:
    """By its relative address, or a whole one with a token from a file."""
    seen = []

    def agent(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        seen.append((url, headers.get("Authorization")))
        return reply(METADATA)

    token = tmp_path / "token"
    token.write_text("secret\n")
    got = found({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"}, agent)
    assert got == Fetched(AwsKeys("AK", "SK", "T"), NOW + 3600)
    found(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        },
        agent,
    )
    assert seen == [
        ("http://169.254.170.2/v2/credentials/x", None),
        ("http://169.254.170.23/v1/credentials", "secret"),
    ]


@pytest.mark.parametrize(
    "url", ["http://evil.example/keys", "http://10.0.0.1/", "ftp://127.0.0.1.evil/", "file:///etc"]
)
def test_a_container_is_asked_without_tls_only_on_its_own_machine(url: str) -> None:
    """Keys and tokens do not cross a network in the clear."""
    with pytest.raises(BackendAuthenticationFailed, match="must be https"):
        found({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}, lambda *_: reply(METADATA))


def test_a_machines_role_is_asked_with_a_token_first() -> None:
    """The second version of the metadata of a machine."""

    def metadata(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        path = url.removeprefix("http://169.254.169.254/latest/")
        if (method, path) == ("PUT", "api/token"):
            assert headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"
            return reply(b"token")
        assert (method, headers["X-aws-ec2-metadata-token"]) == ("GET", "token")
        assert path.startswith("meta-data/iam/security-credentials/")
        return reply(METADATA) if path.endswith("/models") else reply(b"models")

    assert found({}, metadata) == Fetched(AwsKeys("AK", "SK", "T"), NOW + 3600)


@pytest.mark.parametrize(
    "answers",
    [
        lambda method, url, *_: reply(b"t") if method == "PUT" else reply(b"", 404),
        lambda method, url, *_: reply(b"t") if method == "PUT" else reply(b"../x"),
        lambda method, url, *_: (
            reply(b"t") if method == "PUT" else reply({"Code": "Failed"}) if url.endswith("r") else reply(b"r")
        ),
    ],
)
def test_a_machine_without_a_role_is_told(answers: Answers) -> None:
    """None, a name that is none, or a role whose keys are not there."""
    with pytest.raises(BackendAuthenticationFailed, match="role"):
        found({}, answers)


@pytest.mark.parametrize("environment", [{}, {"AWS_EC2_METADATA_DISABLED": "true"}])
def test_no_credentials_at_all_are_told_with_every_way_to_give_them(environment: dict[str, str]) -> None:
    """On a machine that is none of Amazon's."""
    with pytest.raises(BackendAuthenticationFailed) as caught:
        found(environment)
    assert "AWS_BEARER_TOKEN_BEDROCK" in caught.value.detail
    assert "AWS_ACCESS_KEY_ID" in caught.value.detail


def test_a_signer_signs_what_no_proxy_changes() -> None:
    """The host, the type of the body, the date and the token; all other headers go as they are."""
    access = AwsAccess(keys=AwsKeys("AK", "SK", "T"))
    signer = aws_signer("bedrock", access, "eu-west-1", "bedrock", {}, clock=lambda: NOW)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    signed = asyncio.run(signer.sign("POST", "https://b.eu-west-1.amazonaws.com/x", headers, b"{}"))
    assert {name: signed[name] for name in headers} == headers
    assert signed["X-Amz-Date"] == "20261123T120000Z"
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in signed["Authorization"]
