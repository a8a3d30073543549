"""AWS Signature Version 4, held to AWS's own test suite and to the library of AWS's own tools."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pluggably.providers.aws_signature import AwsKeys, signed_headers

AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
HOST = "https://example.amazonaws.com"
KEYS = AwsKeys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
ALL = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Content-Length": "13",
    "x-amz-content-sha256": "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
}

# github.com/awslabs/aws-c-auth, tests/aws-signing-test-suite/v4 (2026-11): name, method, URL, headers, body, signature.
VECTORS = [
    ("get-vanilla", "GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("post-vanilla", "POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/?Param2=value2&Param1=value1",
        {},
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-empty-query-key",
        "GET",
        "/?Param1=value1",
        {},
        b"",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    (
        "get-vanilla-query-order-encoded",
        "GET",
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        {},
        b"",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    (
        "get-vanilla-query-unreserved",
        "GET",
        f"/?{ALL}={ALL}",
        {},
        b"",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    (
        "get-vanilla-utf8-query",
        "GET",
        "/?ሴ=bar",
        {},
        b"",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    ("get-unreserved", "GET", f"/{ALL}", {}, b"", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    ("get-utf8", "GET", "/ሴ", {}, b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    (
        "get-header-value-trim",
        "GET",
        "/",
        {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
        b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        FORM,
        b"Param1=value1",
        "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    ),
    (
        "post-x-www-form-urlencoded-parameters",
        "POST",
        "/",
        {**FORM, "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"Param1=value1",
        "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "signature"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS]
)
def test_a_signature_is_that_of_the_published_suite(
    method: str, path: str, headers: dict[str, str], body: bytes, signature: str
) -> None:
    """One call of AWS's test suite."""
    signed = signed_headers(method, HOST + path, headers, body, keys=KEYS, region="us-east-1", service="service", at=AT)
    assert signed["Authorization"].rpartition("Signature=")[2] == signature


def test_a_session_token_is_sent_and_signed() -> None:
    """The suite's get-vanilla-with-session-token."""
    keys = AwsKeys(KEYS.access_key_id, KEYS.secret_access_key, TOKEN)
    signed = signed_headers("GET", HOST, {}, b"", keys=keys, region="us-east-1", service="service", at=AT)
    assert signed["X-Amz-Security-Token"] == TOKEN
    assert signed["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date;x-amz-security-token, "
        "Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-v2%3A1/converse-stream",
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/"
        "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-pro-v1%3A0/converse",
        "http://127.0.0.1:8080/model/amazon.nova-lite-v1%3A0/converse",
        "https://example.com:443/a/b?x=1&x=0",
    ],
)
def test_a_signature_is_that_of_the_vendors_library(url: str) -> None:
    """The same call, signed by botocore at the same second, in the form in which it sends a model's id."""
    headers, body = {"Content-Type": "application/json"}, b'{"messages":[]}'
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    SigV4Auth(Credentials("AKID", "secret/+", "token=="), "bedrock", "eu-west-1").add_auth(request)
    at = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    keys = AwsKeys("AKID", "secret/+", "token==")
    signed = signed_headers("POST", url, headers, body, keys=keys, region="eu-west-1", service="bedrock", at=at)
    assert signed["Authorization"] == request.headers["Authorization"]


def test_keys_do_not_show_their_secrets() -> None:
    """Wherever they land."""
    assert "wJalr" not in repr(KEYS)
    assert TOKEN not in repr(AwsKeys("AKID", "s", TOKEN))
