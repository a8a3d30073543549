"""The tokens that workloads outside Google prove themselves with: from a file, from a URL, or an account at AWS.

They are what Google's Security Token Service takes for one of its own (`google_files`). What surprises: AWS gives no
token. The proof is a call to AWS, `GetCallerIdentity`, signed and not sent: Google sends it, and hears from AWS who
signed it. Its keys are looked for in all the places of AWS's own tools, which are more than Google's libraries know.

Source: google.aip.dev/auth/4117, "Determining the subject token"; what an address in such a file may be:
cloud.google.com/docs/authentication/client-libraries, "Validate credential configurations from external sources"
(2026-11). A token that a program makes, or that is bound to a certificate, is not taken: the error says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from pluggably.errors import BackendAuthenticationFailed, PluggablyError
from pluggably.providers.aws_keys import KeySource
from pluggably.providers.aws_signature import AwsAccess, signed_headers
from pluggably.providers.credentials import FETCH_S, MAX_BYTES, Ask

# A machine's metadata answers at once or not at all.
METADATA_S = 2.0
_AWS_HOSTS = ("169.254.169.254", "fd00:ec2::254")
_IDENTITY_URLS = tuple(
    f"https://sts.{{region}}.amazonaws.com{suffix}?Action=GetCallerIdentity&Version=2011-06-15"
    for suffix in ("", "/", ".cn", ".cn/")
)
_NOT_TAKEN = {"executable": "made by a program", "certificate": "bound to a certificate"}


class Workload(Struct, frozen=True):
    """Who is to be proved: what Google calls the provider of its identity, where its token comes from, and what the
    file is called that says so."""

    audience: str
    source: Mapping[str, Any]
    where: str

    def __repr__(self) -> str:
        """Without the headers of a URL, which may hold a key."""
        return f"Workload({self.audience!r})"


class _Format(Struct):
    type: str = "text"
    subject_token_field_name: str = ""


class _Source(Struct):
    file: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    format: _Format = msgspec.field(default_factory=_Format)
    environment_id: str | None = None
    region_url: str | None = None
    imdsv2_session_token_url: str | None = None
    regional_cred_verification_url: str = ""


class SubjectSource:
    """Gets the tokens of workloads, each time anew: they live for minutes."""

    def __init__(self, name: str, environment: Mapping[str, str], asks: Ask, clock: Callable[[], float]) -> None:
        self._name = name
        self._environment = environment
        self._ask = asks
        self._clock = clock

    async def token(self, workload: Workload) -> str:
        """Raises: BackendAuthenticationFailed, BackendError."""
        for kind, means in _NOT_TAKEN.items():
            if kind in workload.source:
                raise self._refused(
                    f"{workload.where} are for a token that is {means}, which the gateway does not take. It "
                    "takes one from a file, from a URL, or of an account at AWS."
                )
        try:
            source = msgspec.convert(workload.source, _Source)
        except msgspec.ValidationError:
            raise self._refused(f"the `credential_source` of {workload.where} is not of Google's form.") from None
        if source.environment_id is not None:
            return await self._of_aws(source, workload)
        if source.file is not None:
            return self._read(await self._of_file(source.file), source.format, source.file)
        if source.url is not None:
            host = urlsplit(source.url).hostname or "its URL"
            return self._read(await self._of_url(source.url, source.headers, host), source.format, host)
        raise self._refused(f"the `credential_source` of {workload.where} names no file, no URL and no AWS account.")

    async def _of_file(self, path: str) -> bytes:
        try:
            return await asyncio.to_thread(_first_bytes, path)
        except (OSError, ValueError):
            raise self._refused(f"the token of the workload cannot be read from {path}.") from None

    async def _of_url(self, url: str, headers: Mapping[str, str], host: str) -> bytes:
        try:
            reply = await self._ask("GET", url, headers, b"", FETCH_S)
        except PluggablyError:
            raise self._refused(f"the token of the workload could not be fetched: {host} does not answer.") from None
        if reply.status != 200:
            raise self._refused(f"the token of the workload was not given: {host} answered {reply.status}.")
        return reply.body

    def _read(self, content: bytes, form: _Format, place: str) -> str:
        try:
            text: Any = content.decode()
            if form.type == "json":
                text = msgspec.json.decode(content)[form.subject_token_field_name]
        except (msgspec.DecodeError, UnicodeError, LookupError, TypeError):
            text = None
        if not isinstance(text, str) or not text.strip():
            field = f" in its field `{form.subject_token_field_name}`" if form.type == "json" else ""
            raise self._refused(f"what came from {place} holds no token of the workload{field}.")
        return text.strip()

    # ── an account at AWS ───────────────────────────────────────────────────────────────────────────────────────────

    async def _of_aws(self, source: _Source, workload: Workload) -> str:
        if source.environment_id != "aws1":
            raise self._refused(f"{workload.where} are for another form of AWS's proof than `aws1`.")
        if source.regional_cred_verification_url not in _IDENTITY_URLS:
            raise self._foreign("regional_cred_verification_url", workload, _IDENTITY_URLS[0])
        for field in ("url", "region_url", "imdsv2_session_token_url"):
            url = getattr(source, field)
            if url is not None and urlsplit(url).hostname not in _AWS_HOSTS:
                raise self._foreign(field, workload, f"at {' or '.join(_AWS_HOSTS)}")
        region = await self._region(source)
        name = f"{self._name}, whose credentials are an account at AWS"
        found = await KeySource(name, AwsAccess(), region, self._environment, self._ask, self._clock).fetch()
        url = source.regional_cred_verification_url.replace("{region}", region)
        headers = {"x-goog-cloud-target-resource": workload.audience}
        at = datetime.fromtimestamp(self._clock(), UTC)
        signed = signed_headers("POST", url, headers, b"", keys=found.value, region=region, service="sts", at=at)
        sent = {"host": urlsplit(url).netloc, **headers, **signed}
        pairs = [{"key": key if key == "Authorization" else key.lower(), "value": sent[key]} for key in sent]
        call = {"url": url, "method": "POST", "headers": pairs}
        return quote(msgspec.json.encode(call).decode())

    async def _region(self, source: _Source) -> str:
        for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            if named := self._environment.get(variable, "").strip():
                return named
        if source.region_url is not None:
            headers: dict[str, str] = {}
            try:
                if source.imdsv2_session_token_url is not None:
                    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
                    token = await self._ask("PUT", source.imdsv2_session_token_url, lifetime, b"", METADATA_S)
                    headers["X-aws-ec2-metadata-token"] = token.body.decode("ascii", "replace").strip()
                reply = await self._ask("GET", source.region_url, headers, b"", METADATA_S)
            except PluggablyError:
                reply = None
            zone = reply.body.decode("ascii", "replace").strip() if reply is not None and reply.status == 200 else ""
            if zone[:-1].replace("-", "").isalnum():
                return zone[:-1]  # `us-east-1d`
        raise self._refused("the AWS region of this workload is not known. Set AWS_REGION.")

    def _foreign(self, field: str, workload: Workload, proper: str) -> BackendAuthenticationFailed:
        return self._refused(
            f"`{field}` of {workload.where} is no address of AWS, so nothing was sent there. It should be {proper}."
        )

    def _refused(self, detail: str) -> BackendAuthenticationFailed:
        return BackendAuthenticationFailed(f"{self._name}: {detail}")


def _first_bytes(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MAX_BYTES)
