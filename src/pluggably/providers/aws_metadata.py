"""The keys of the role that a container or a machine of AWS has, asked for at its metadata.

Source: docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html,
…/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html (2026-11).
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pluggably.errors import BackendAuthenticationFailed, PluggablyError
from pluggably.providers.aws_signature import AwsKeys
from pluggably.providers.aws_surroundings import Surroundings, seconds
from pluggably.providers.credentials import FETCH_S, Fetched
from pluggably.wire.codec import HttpReply

# The machine's metadata answers at once or not at all: where there is none, the address leads nowhere.
METADATA_S = 2.0
METADATA_HOST = "http://169.254.169.254"
CONTAINER_HOST = "http://169.254.170.2"
# Where a container may be told to fetch its keys without TLS: …/sdkref/…/feature-container-credentials.html
_CONTAINER_HOSTS = {"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost", "127.0.0.1", "::1"}


def is_container(around: Surroundings) -> bool:
    """Whether this container was told where its keys are."""
    names = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    return any(around.variable(name) for name in names)


async def keys_of_container(around: Surroundings) -> Fetched[AwsKeys]:
    """Raises: BackendAuthenticationFailed, BackendError."""
    relative = around.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = CONTAINER_HOST + relative if relative else around.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") or ""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _CONTAINER_HOSTS:
        raise around.refused(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of this machine or of its container agent."
        )
    headers = {"Accept": "application/json"}
    token = around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    if token_file := around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        try:
            token = (await asyncio.to_thread(Path(token_file).read_text, "utf-8")).strip()
        except (OSError, ValueError):
            raise around.refused(f"the container's token cannot be read from {token_file}.") from None
    if token:
        if not token.isprintable():
            raise around.refused("the container's token has characters that no header takes.")
        headers["Authorization"] = token
    reply = await around.ask("GET", url, headers, b"", FETCH_S)
    return _keys(around, reply, "the container's metadata")


async def keys_of_machine(around: Surroundings) -> Fetched[AwsKeys]:
    """Of the role of an EC2 machine, by the second version of its metadata: a token first.

    Raises: BackendAuthenticationFailed, BackendError."""
    host = (around.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA_HOST).rstrip("/")
    if (around.variable("AWS_EC2_METADATA_DISABLED") or "").lower() == "true":
        raise _nothing(around)
    try:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
        token = await around.ask("PUT", f"{host}/latest/api/token", lifetime, b"", METADATA_S)
    except PluggablyError:
        raise _nothing(around) from None
    if token.status != 200:
        raise _nothing(around)
    headers = {"X-aws-ec2-metadata-token": token.body.decode("ascii", "replace").strip()}
    folder = f"{host}/latest/meta-data/iam/security-credentials/"
    roles = await around.ask("GET", folder, headers, b"", METADATA_S)
    role = roles.body.decode("utf-8", "replace").split("\n")[0].strip()
    if roles.status != 200 or not re.fullmatch(r"[\w+=,.@-]+", role):
        raise around.refused("this machine has no role. Give it one, or set other credentials.")
    reply = await around.ask("GET", folder + role, headers, b"", METADATA_S)
    return _keys(around, reply, "the machine's metadata")


class _Metadata(Struct):
    code: str | None = msgspec.field(default=None, name="Code")
    access_key: str = msgspec.field(default="", name="AccessKeyId")
    secret_key: str = msgspec.field(default="", name="SecretAccessKey")
    token: str | None = msgspec.field(default=None, name="Token")
    expiration: str = msgspec.field(default="", name="Expiration")


def _keys(around: Surroundings, reply: HttpReply, source: str) -> Fetched[AwsKeys]:
    if reply.status != 200:
        raise around.refused(f"{source} gave no keys (status {reply.status}). Check the role.")
    told = msgspec.json.decode(reply.body, type=_Metadata)
    if told.code not in (None, "Success") or not told.access_key or not told.secret_key:
        raise around.refused(f"{source} gave no keys ({(told.code or 'nothing in it')[:80]}). Check the role.")
    return Fetched(AwsKeys(told.access_key, told.secret_key, told.token), seconds(told.expiration))


def _nothing(around: Surroundings) -> BackendAuthenticationFailed:
    """The last place has none, so there are none at all."""
    return around.refused(
        "no AWS credentials were found. Set AWS_BEARER_TOKEN_BEDROCK (a key of Bedrock's own), or AWS_ACCESS_KEY_ID "
        "and AWS_SECRET_ACCESS_KEY, or name a profile, or run where there is a role."
    )
