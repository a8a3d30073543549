"""Where AWS keys come from, and the signer that signs with them.

The places are those in which AWS's own tools look, in their order: what the config says, the environment, a token file
for a role (as in Kubernetes), the shared profile files, the metadata of a container, that of a machine. What surprises:
the profile files are read here, when keys are needed, and again every few minutes, since other programs rewrite them.
And of the ways to log in that need a browser or another program, none is done here: the error says what to do.

Source: docs.aws.amazon.com/sdkref/latest/guide, "Standardized credential providers" and the pages below it;
…/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html; …/STS/latest/APIReference (2026-11).
"""

from __future__ import annotations

import asyncio
import configparser
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from pluggably.errors import BackendAuthenticationFailed, BackendError, PluggablyError
from pluggably.providers.aws_signature import AwsKeys, signed_headers
from pluggably.providers.credentials import FETCH_S, Ask, Fetched, Renewed, ask
from pluggably.wire.codec import HttpReply

# The machine's metadata answers at once or not at all: where there is none, the address leads nowhere.
METADATA_S = 2.0
METADATA_HOST = "http://169.254.169.254"
CONTAINER_HOST = "http://169.254.170.2"
# Where a container may be told to fetch its keys without TLS: …/sdkref/…/feature-container-credentials.html
_CONTAINER_HOSTS = {"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost", "127.0.0.1", "::1"}
FILE_LIFETIME_S = 600.0
ROLE_SESSION = "pluggably"
# What stands in a profile that needs a browser or another program.
_FOREIGN_LOGINS = {
    "sso_session": "IAM Identity Center",
    "sso_start_url": "IAM Identity Center",
    "credential_process": "another program",
    "login_session": "`aws login`",
    "mfa_serial": "a code of a second factor",
}


class AwsAccess(Struct, frozen=True, kw_only=True):
    """What the operator says: a pair of keys, or a profile of the shared files; nothing: look in the usual places."""

    keys: AwsKeys | None = None
    profile: str | None = None


class AwsSigner:
    """Signs each call with the keys of one access. A `Signer`."""

    def __init__(
        self,
        keys: Renewed[AwsKeys],
        region: str,
        service: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keys = keys
        self._region = region
        self._service = service
        self._now = now

    async def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        keys = await self._keys.current()
        # What a proxy may change on the way must not be signed.
        covered = {
            name: value for name, value in headers.items() if name.lower() == "content-type" or _is_own(name.lower())
        }
        signed = signed_headers(
            method, url, covered, body, keys=keys, region=self._region, service=self._service, at=self._now()
        )
        return {**headers, **signed}


def _is_own(name: str) -> bool:
    return name.startswith("x-amz-")


def aws_signer(
    name: str,
    access: AwsAccess,
    region: str,
    service: str,
    environment: Mapping[str, str],
    *,
    asks: Ask = ask,
    clock: Callable[[], float] = time.time,
) -> AwsSigner:
    """The signer of one access of the provider `name`."""
    source = KeySource(name, access, region, environment, asks, clock)
    return AwsSigner(Renewed(source.fetch, clock=clock), region, service, lambda: datetime.fromtimestamp(clock(), UTC))


class KeySource:
    """Looks for keys, each time anew."""

    def __init__(
        self,
        name: str,
        access: AwsAccess,
        region: str,
        environment: Mapping[str, str],
        asks: Ask = ask,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._access = access
        self._region = region
        self._environment = environment
        self._ask = asks
        self._clock = clock

    async def fetch(self) -> Fetched[AwsKeys]:
        """Raises: BackendAuthenticationFailed, BackendError."""
        if self._access.keys is not None:
            return Fetched(self._access.keys)
        if self._access.profile is not None:
            return await self._of_profile(self._access.profile, ())
        found = self._of_environment()
        if found is not None:
            return found
        role, token_file = self._variable("AWS_ROLE_ARN"), self._variable("AWS_WEB_IDENTITY_TOKEN_FILE")
        if role and token_file:
            return await self._of_web_identity(role, token_file, self._variable("AWS_ROLE_SESSION_NAME"))
        profile = self._variable("AWS_PROFILE")
        if profile or "default" in await asyncio.to_thread(self._profiles):
            return await self._of_profile(profile or "default", ())
        if self._variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or self._variable(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI"
        ):
            return await self._of_container()
        return await self._of_machine()

    # ── what is written down ────────────────────────────────────────────────────────────────────────────────────────

    def _of_environment(self) -> Fetched[AwsKeys] | None:
        key, secret = self._variable("AWS_ACCESS_KEY_ID"), self._variable("AWS_SECRET_ACCESS_KEY")
        if not key and not secret:
            return None
        if not key or not secret:
            missing = "AWS_ACCESS_KEY_ID" if not key else "AWS_SECRET_ACCESS_KEY"
            raise self._refused(f"{missing} is not set, though the other of the two keys is. Set both, or neither.")
        return Fetched(AwsKeys(key, secret, self._variable("AWS_SESSION_TOKEN")))

    async def _of_profile(self, profile: str, through: tuple[str, ...]) -> Fetched[AwsKeys]:
        """`through`: the profiles whose roles are taken with this one's keys."""
        profiles = await asyncio.to_thread(self._profiles)
        entry = profiles.get(profile)
        if entry is None:
            raise self._refused(
                f"there is no profile `{profile}` in {self._credentials_path()} or {self._config_path()}. Write it "
                "there, or name another one."
            )
        # A profile may name itself as the source of its own keys, but no further circle.
        role = entry.get("role_arn") if not (through and through[-1] == profile) else None
        if role is not None:
            if profile in through:
                raise self._refused(f"the profile `{profile}` leads back to itself by `source_profile`.")
            return await self._of_role(role, profile, entry, through)
        key, secret = entry.get("aws_access_key_id"), entry.get("aws_secret_access_key")
        if key and secret:
            keys = AwsKeys(key, secret, entry.get("aws_session_token"))
            return Fetched(keys, self._clock() + FILE_LIFETIME_S)
        for option, means in _FOREIGN_LOGINS.items():
            if option in entry:
                raise self._foreign(profile, option, means)
        raise self._refused(
            f"the profile `{profile}` has no keys. It needs `aws_access_key_id` and `aws_secret_access_key`, or a "
            "`role_arn`."
        )

    async def _of_role(
        self, role: str, profile: str, entry: Mapping[str, str], through: tuple[str, ...]
    ) -> Fetched[AwsKeys]:
        if "mfa_serial" in entry:
            raise self._foreign(profile, "mfa_serial", _FOREIGN_LOGINS["mfa_serial"])
        token_file = entry.get("web_identity_token_file")
        if token_file:
            return await self._of_web_identity(role, token_file, entry.get("role_session_name"))
        if source := entry.get("source_profile"):
            own = (await self._of_profile(source, (*through, profile))).value
        elif named := entry.get("credential_source"):
            own = (await self._of_named(profile, named)).value
        else:
            raise self._refused(f"the profile `{profile}` has a role, but no `source_profile` to take it with.")
        form = {"RoleArn": role, "RoleSessionName": entry.get("role_session_name") or ROLE_SESSION}
        if "external_id" in entry:
            form["ExternalId"] = entry["external_id"]
        if entry.get("duration_seconds", "").isdecimal():
            form["DurationSeconds"] = entry["duration_seconds"]
        return await self._of_sts("AssumeRole", form, own)

    async def _of_named(self, profile: str, source: str) -> Fetched[AwsKeys]:
        """`credential_source` of a profile."""
        if source == "Environment" and (found := self._of_environment()) is not None:
            return found
        if source == "EcsContainer":
            return await self._of_container()
        if source == "Ec2InstanceMetadata":
            return await self._of_machine()
        raise self._refused(f"the profile `{profile}` takes its role with `credential_source`, which gives no keys.")

    def _profiles(self) -> dict[str, dict[str, str]]:
        """Both files as one, the credentials over the config. Runs in a thread. Raises: BackendAuthenticationFailed."""
        profiles: dict[str, dict[str, str]] = {}
        for path, is_config in ((self._config_path(), True), (self._credentials_path(), False)):
            parser = configparser.RawConfigParser(strict=False)
            try:
                parser.read_string(path.read_text("utf-8"))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._refused(f"{path} cannot be read: {error.strerror}.") from None
            except (configparser.Error, ValueError):
                # The error's own text quotes the line, and the line may hold a key.
                raise self._refused(f"{path} is not of the form of a profile file.") from None
            for section in parser.sections():
                kind, _, rest = section.partition(" ")
                if is_config and section != "default" and kind != "profile":
                    continue  # `[sso-session x]`, `[services x]`
                name = rest.strip() if is_config and section != "default" else section
                profiles.setdefault(name, {}).update(parser.items(section))
        return profiles

    def _credentials_path(self) -> Path:
        return self._shared_file("AWS_SHARED_CREDENTIALS_FILE", "credentials")

    def _config_path(self) -> Path:
        return self._shared_file("AWS_CONFIG_FILE", "config")

    def _shared_file(self, variable: str, name: str) -> Path:
        home = Path(self._variable("HOME") or "/nonexistent")
        named = self._variable(variable)
        if named is None:
            return home / ".aws" / name
        return home / named[2:] if named.startswith("~/") else Path(named)

    # ── what has to be asked for ────────────────────────────────────────────────────────────────────────────────────

    async def _of_web_identity(self, role: str, token_file: str, session: str | None) -> Fetched[AwsKeys]:
        try:
            token = (await asyncio.to_thread(Path(token_file).read_text, "utf-8")).strip()
        except (OSError, ValueError):
            raise self._refused(f"the token of the role's web identity cannot be read from {token_file}.") from None
        form = {"RoleArn": role, "RoleSessionName": session or ROLE_SESSION, "WebIdentityToken": token}
        return await self._of_sts("AssumeRoleWithWebIdentity", form, None)

    async def _of_sts(self, action: str, form: Mapping[str, str], keys: AwsKeys | None) -> Fetched[AwsKeys]:
        """A role's keys, asked for with others, or with a token that the form holds."""
        suffix = "amazonaws.com.cn" if self._region.startswith("cn-") else "amazonaws.com"
        url = (self._variable("AWS_ENDPOINT_URL_STS") or f"https://sts.{self._region}.{suffix}").rstrip("/") + "/"
        body = urlencode({"Action": action, "Version": "2011-06-15", **form}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        if keys is not None:
            at = datetime.fromtimestamp(self._clock(), UTC)
            headers |= signed_headers("POST", url, headers, body, keys=keys, region=self._region, service="sts", at=at)
        reply = await self._ask("POST", url, headers, body, FETCH_S)
        text = reply.body.decode("utf-8", "replace")
        if reply.status != 200:
            code = _element(text, "Code") or str(reply.status)
            told = f"AWS did not give the keys of {form['RoleArn']}: {code[:80]}."
            if reply.status >= 500 or reply.status == 429:
                raise BackendError(f"{self._name}: {told}", backend_status=reply.status)
            raise self._refused(f"{told} Check the role, its trust policy, and the clock of this machine.")
        keys = AwsKeys(
            _element(text, "AccessKeyId"), _element(text, "SecretAccessKey"), _element(text, "SessionToken") or None
        )
        if not keys.access_key_id or not keys.secret_access_key:
            raise self._refused("AWS's answer to the question for a role's keys has no keys in it.")
        return Fetched(keys, _seconds(_element(text, "Expiration")))

    async def _of_container(self) -> Fetched[AwsKeys]:
        relative = self._variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        url = CONTAINER_HOST + relative if relative else self._variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") or ""
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _CONTAINER_HOSTS:
            raise self._refused(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of this machine or of its container "
                "agent."
            )
        headers = {"Accept": "application/json"}
        token = self._variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        if token_file := self._variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            try:
                token = (await asyncio.to_thread(Path(token_file).read_text, "utf-8")).strip()
            except (OSError, ValueError):
                raise self._refused(f"the container's token cannot be read from {token_file}.") from None
        if token:
            if not token.isprintable():
                raise self._refused("the container's token has characters that no header takes.")
            headers["Authorization"] = token
        reply = await self._ask("GET", url, headers, b"", FETCH_S)
        return self._of_metadata(reply, "the container's metadata")

    async def _of_machine(self) -> Fetched[AwsKeys]:
        """Of the role of an EC2 machine, by the second version of its metadata: a token first."""
        host = (self._variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA_HOST).rstrip("/")
        if (self._variable("AWS_EC2_METADATA_DISABLED") or "").lower() == "true":
            raise self._nothing()
        try:
            lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
            token = await self._ask("PUT", f"{host}/latest/api/token", lifetime, b"", METADATA_S)
        except PluggablyError:
            raise self._nothing() from None
        if token.status != 200:
            raise self._nothing()
        headers = {"X-aws-ec2-metadata-token": token.body.decode("ascii", "replace").strip()}
        folder = f"{host}/latest/meta-data/iam/security-credentials/"
        roles = await self._ask("GET", folder, headers, b"", METADATA_S)
        role = roles.body.decode("utf-8", "replace").split("\n")[0].strip()
        if roles.status != 200 or not re.fullmatch(r"[\w+=,.@-]+", role):
            raise self._refused("this machine has no role. Give it one, or set other credentials.")
        reply = await self._ask("GET", folder + role, headers, b"", METADATA_S)
        return self._of_metadata(reply, "the machine's metadata")

    def _of_metadata(self, reply: HttpReply, source: str) -> Fetched[AwsKeys]:
        if reply.status != 200:
            raise self._refused(f"{source} gave no keys (status {reply.status}). Check the role.")
        told = msgspec.json.decode(reply.body, type=_Metadata)
        if told.code not in (None, "Success") or not told.access_key or not told.secret_key:
            raise self._refused(f"{source} gave no keys ({(told.code or 'nothing in it')[:80]}). Check the role.")
        return Fetched(AwsKeys(told.access_key, told.secret_key, told.token), _seconds(told.expiration))

    # ── what is not there ───────────────────────────────────────────────────────────────────────────────────────────

    def _variable(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def _nothing(self) -> BackendAuthenticationFailed:
        return self._refused(
            "no AWS credentials were found. Set AWS_BEARER_TOKEN_BEDROCK (a key of Bedrock's own), or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile, or run where there is a role."
        )

    def _foreign(self, profile: str, option: str, means: str) -> BackendAuthenticationFailed:
        return self._refused(
            f"the profile `{profile}` logs in by {means} (`{option}`), which the gateway does not do. Run `aws "
            f"configure export-credentials --profile {profile}` and give it the keys, or name another profile."
        )

    def _refused(self, detail: str) -> BackendAuthenticationFailed:
        return BackendAuthenticationFailed(f"{self._name}: {detail}")


class _Metadata(Struct):
    code: str | None = msgspec.field(default=None, name="Code")
    access_key: str = msgspec.field(default="", name="AccessKeyId")
    secret_key: str = msgspec.field(default="", name="SecretAccessKey")
    token: str | None = msgspec.field(default=None, name="Token")
    expiration: str = msgspec.field(default="", name="Expiration")


def _element(xml: str, name: str) -> str:
    """The text of the first element of this name. What is looked for has no characters that XML escapes."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", xml)
    return found[1].strip() if found else ""


def _seconds(date: str) -> float | None:
    """An ISO date in seconds since 1970. Raises: ValueError."""
    return datetime.fromisoformat(date).timestamp() if date else None
