"""Where workloads outside Google have their tokens from, and what is said where there are none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from pluggably.errors import BackendAuthenticationFailed, BackendUnreachable
from pluggably.providers.google_subjects import SubjectSource, Workload
from pluggably.wire.codec import HttpReply

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
AUDIENCE = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/aws"
AWS = {
    "environment_id": "aws1",
    "region_url": "http://169.254.169.254/latest/meta-data/placement/availability-zone",
    "url": "http://169.254.169.254/latest/meta-data/iam/security-credentials",
    "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
    "imdsv2_session_token_url": "http://169.254.169.254/latest/api/token",
}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_REGION": "us-east-2"}

Answers = Callable[[str, str, Mapping[str, str]], HttpReply]


def reply(content: str, status: int = 200) -> HttpReply:
    return HttpReply(status=status, headers={}, body=content.encode())


def nobody(method: str, url: str, headers: Mapping[str, str]) -> HttpReply:
    raise BackendUnreachable("No connection.")


def token(source: Mapping[str, Any], answers: Answers = nobody, environment: Mapping[str, str] | None = None) -> str:
    async def asks(method: str, url: str, headers: Mapping[str, str], body: bytes, limit_s: float) -> HttpReply:
        return answers(method, url, headers)

    subjects = SubjectSource("vertex", environment or {}, asks, lambda: NOW)
    return asyncio.run(subjects.token(Workload(AUDIENCE, source, "the credentials in the config")))


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("eyJ.x\n", {}),
        ("eyJ.x", {"format": {"type": "text"}}),
        ('{"id_token": "eyJ.x"}', {"format": {"type": "json", "subject_token_field_name": "id_token"}}),
    ],
)
def test_a_token_stands_in_a_file_or_is_fetched(content: str, form: dict[str, Any], tmp_path: Path) -> None:
    """As it is, or in a field of JSON; the file counts where both are named."""
    path = tmp_path / "token"
    path.write_text(content)

    def azure(method: str, url: str, headers: Mapping[str, str]) -> HttpReply:
        assert (method, url, headers) == ("GET", "http://169.254.169.254/metadata", {"Metadata": "True"})
        return reply(content)

    fetched = {"url": "http://169.254.169.254/metadata", "headers": {"Metadata": "True"}, **form}
    assert token(fetched, azure) == "eyJ.x"
    assert token({**fetched, "file": str(path), **form}) == "eyJ.x"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"file": "/nonexistent/token"}, "cannot be read from /nonexistent/token"),
        ({"url": "https://user:s3cret@tokens.test/s3cret"}, r"tokens\.test does not answer"),
        ({"executable": {"command": "/bin/s3cret"}}, "made by a program"),
        ({"certificate": {"use_default_certificate_config": True}}, "bound to a certificate"),
        ({}, "names no file"),
        ({"file": ["s3cret"]}, "not of Google's form"),
        ({**AWS, "environment_id": "aws2"}, "aws1"),
        ({**AWS, "url": "http://evil.test/s3cret"}, "`url`"),
        ({**AWS, "region_url": "http://evil.test/s3cret"}, "`region_url`"),
        ({**AWS, "imdsv2_session_token_url": "http://169.254.169.254@evil.test/"}, "`imdsv2_session_token_url`"),
        ({**AWS, "regional_cred_verification_url": "https://evil.test/"}, "`regional_cred_verification_url`"),
        (AWS, "Set AWS_REGION"),
        ({**AWS, "region_url": None}, "Set AWS_REGION"),
    ],
)
def test_a_source_of_no_use_is_told(source: dict[str, Any], says: str) -> None:
    """Before anything is sent anywhere, and without its secrets."""
    with pytest.raises(BackendAuthenticationFailed, match=says) as caught:
        token(source)
    assert "s3cret" not in caught.value.detail


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        (reply("", 200), {}),
        (reply("no", 403), {}),
        (reply('{"other": "eyJ.x"}'), {"type": "json", "subject_token_field_name": "id_token"}),
        (reply('{"id_token": 7}'), {"type": "json", "subject_token_field_name": "id_token"}),
        (reply("eyJ.x"), {"type": "json", "subject_token_field_name": "id_token"}),
        (reply("[]"), {"type": "json", "subject_token_field_name": "id_token"}),
    ],
)
def test_an_answer_without_a_token_is_told(answer: HttpReply, form: dict[str, str]) -> None:
    """And by whom it was given, but not what it says."""
    source = {"url": "http://localhost:5000/token", "format": form or {"type": "text"}}
    with pytest.raises(BackendAuthenticationFailed, match="localhost") as caught:
        token(source, lambda *_: answer)
    assert "eyJ" not in caught.value.detail


def test_an_account_at_aws_signs_who_it_is() -> None:
    """A call that is not sent here; its headers hold for this pool only, and its secret is not in it."""
    proof = token(AWS, environment={**KEYS, "AWS_SESSION_TOKEN": "session"})
    assert "s3cret" not in proof
    call = json.loads(unquote(proof))
    url = "https://sts.us-east-2.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    assert (call["method"], call["url"]) == ("POST", url)
    headers = {pair["key"]: pair["value"] for pair in call["headers"]}
    authorization = headers.pop("Authorization")
    assert headers == {
        "host": "sts.us-east-2.amazonaws.com",
        "x-amz-date": "20261123T120000Z",
        "x-amz-security-token": "session",
        "x-goog-cloud-target-resource": AUDIENCE,
    }
    assert "Credential=AKIDEXAMPLE/20261123/us-east-2/sts/aws4_request" in authorization
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource" in authorization


def test_a_machine_at_aws_is_asked_for_its_region_and_its_role() -> None:
    """By the second version of its metadata."""

    def metadata(method: str, url: str, headers: Mapping[str, str]) -> HttpReply:
        path = url.removeprefix("http://169.254.169.254/latest/")
        if method == "PUT":
            return reply("mine")
        assert headers["X-aws-ec2-metadata-token"] == "mine"
        keys = {"Code": "Success", "AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "T"}
        return reply(
            {
                "meta-data/placement/availability-zone": "eu-west-1b",
                "meta-data/iam/security-credentials/": "box",
                "meta-data/iam/security-credentials/box": json.dumps(keys),
            }[path]
        )

    call = json.loads(unquote(token(AWS, metadata)))
    assert call["url"].startswith("https://sts.eu-west-1.amazonaws.com?")
    assert {"key": "x-amz-security-token", "value": "T"} in call["headers"]


def test_an_account_at_aws_that_is_not_there_is_told() -> None:
    """And that it is one at AWS which is looked for."""
    with pytest.raises(BackendAuthenticationFailed, match="an account at AWS: no AWS credentials"):
        token(AWS, environment={"AWS_REGION": "us-east-2"})
