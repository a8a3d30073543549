"""Where AWS keys come from, and the signer that signs with them.

The places are those in which AWS's own tools look, in their order: what the config says, the environment, a token file
for a role (as in Kubernetes), the shared profile files, the metadata of a container, that of a machine. Each way has a
file of its own beside this one: `aws_profiles` reads the files, `aws_roles` asks for a role's keys, `aws_sso` for those
of Identity Center, `aws_metadata` for a container's and a machine's, `aws_process` runs the operator's own program.

What surprises: the profile files are read here, when keys are needed, and again every few minutes, since other programs
rewrite them. And what needs a person is not done here: the error says what to do.

Source: docs.aws.amazon.com/sdkref/latest/guide, "Standardized credential providers" and the pages below it (2026-11).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pluggably.providers.aws_metadata import is_container, keys_of_container, keys_of_machine
from pluggably.providers.aws_process import PROCESS_S, keys_of_process
from pluggably.providers.aws_profiles import Section, SharedFiles, read_shared_files
from pluggably.providers.aws_roles import keys_of_role, keys_of_web_identity
from pluggably.providers.aws_signature import AwsAccess, AwsKeys, signed_headers
from pluggably.providers.aws_sso import IdentityCenter
from pluggably.providers.aws_surroundings import Surroundings
from pluggably.providers.credentials import Ask, Fetched, Renewed, ask

FILE_LIFETIME_S = 600.0
# A profile without any of these says nothing of keys, but perhaps of a region.
_WAYS = {
    "role_arn", "sso_session", "sso_start_url", "aws_access_key_id", "aws_secret_access_key", "login_session",
    "credential_process",
}  # fmt: skip


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
        process_s: float = PROCESS_S,
    ) -> None:
        """`process_s` is how long a profile's own program may take."""
        self._access = access
        self._around = Surroundings(name, region, environment, asks, clock)
        self._identity_center = IdentityCenter(self._around)
        self._process_s = process_s

    async def fetch(self) -> Fetched[AwsKeys]:
        """Raises: BackendAuthenticationFailed, BackendError."""
        around = self._around
        if self._access.keys is not None:
            return Fetched(self._access.keys)
        if self._access.profile is not None:
            return await self._of_profile(await self._files(), self._access.profile, ())
        found = self._of_environment()
        if found is not None:
            return found
        role, token_file = around.variable("AWS_ROLE_ARN"), around.variable("AWS_WEB_IDENTITY_TOKEN_FILE")
        if role and token_file:
            return await keys_of_web_identity(around, role, token_file, around.variable("AWS_ROLE_SESSION_NAME"))
        files, named = await self._files(), around.variable("AWS_PROFILE")
        entry = files.profiles.get(named or "default")
        if (named and entry is None) or (entry is not None and _WAYS & entry.keys()):
            return await self._of_profile(files, named or "default", ())
        if is_container(around):
            return await keys_of_container(around)
        return await keys_of_machine(around)

    def _of_environment(self) -> Fetched[AwsKeys] | None:
        variable = self._around.variable
        key, secret = variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")
        if not key and not secret:
            return None
        if not key or not secret:
            missing = "AWS_ACCESS_KEY_ID" if not key else "AWS_SECRET_ACCESS_KEY"
            raise self._around.refused(
                f"{missing} is not set, though the other of the two keys is. Set both, or neither."
            )
        return Fetched(AwsKeys(key, secret, variable("AWS_SESSION_TOKEN")))

    async def _files(self) -> SharedFiles:
        return await asyncio.to_thread(read_shared_files, self._around)

    async def _of_profile(self, files: SharedFiles, profile: str, through: tuple[str, ...]) -> Fetched[AwsKeys]:
        """`through`: the profiles whose roles are taken with this one's keys."""
        around = self._around
        entry = files.profiles.get(profile)
        if entry is None:
            raise around.refused(
                f"there is no profile `{profile}` in {files.places}. Write it there, or name another one."
            )
        # A profile may name itself as the source of its own keys, but no further circle.
        role = entry.get("role_arn") if not (through and through[-1] == profile) else None
        if role is not None:
            if profile in through:
                raise around.refused(f"the profile `{profile}` leads back to itself by `source_profile`.")
            return await self._of_role(files, role, profile, entry, through)
        if "sso_account_id" in entry or "sso_role_name" in entry:
            return await self._identity_center.keys(profile, entry, files.sso_sessions)
        key, secret = entry.get("aws_access_key_id"), entry.get("aws_secret_access_key")
        if key and secret:
            keys = AwsKeys(key, secret, entry.get("aws_session_token"))
            return Fetched(keys, around.clock() + FILE_LIFETIME_S)
        if "login_session" in entry:
            raise around.refused(
                f"the profile `{profile}` logs in by `aws login` (`login_session`), whose files only AWS's own tools "
                "read. Name a profile that has `credential_process = aws configure export-credentials --profile "
                f"{profile}`."
            )
        if command := entry.get("credential_process"):
            return await keys_of_process(around, profile, command, self._process_s)
        raise around.refused(
            f"the profile `{profile}` has no keys. It needs `aws_access_key_id` and `aws_secret_access_key`, a "
            "`role_arn`, a `credential_process`, or `sso_account_id` and `sso_role_name`."
        )

    async def _of_role(
        self, files: SharedFiles, role: str, profile: str, entry: Section, through: tuple[str, ...]
    ) -> Fetched[AwsKeys]:
        around = self._around
        if "mfa_serial" in entry:
            raise around.refused(
                f"the role of the profile `{profile}` needs the code of a second factor (`mfa_serial`), and a gateway "
                "has nobody to type it. Name a role that needs none, or a profile whose `credential_process` brings "
                "the keys."
            )
        if token_file := entry.get("web_identity_token_file"):
            return await keys_of_web_identity(around, role, token_file, entry.get("role_session_name"))
        if source := entry.get("source_profile"):
            own = (await self._of_profile(files, source, (*through, profile))).value
        elif named := entry.get("credential_source"):
            own = (await self._of_named(profile, named)).value
        else:
            raise around.refused(f"the profile `{profile}` has a role, but no `source_profile` to take it with.")
        return await keys_of_role(around, role, entry, own)

    async def _of_named(self, profile: str, source: str) -> Fetched[AwsKeys]:
        """`credential_source` of a profile."""
        if source == "Environment" and (found := self._of_environment()) is not None:
            return found
        if source == "EcsContainer":
            return await keys_of_container(self._around)
        if source == "Ec2InstanceMetadata":
            return await keys_of_machine(self._around)
        raise self._around.refused(
            f"the profile `{profile}` takes its role with `credential_source`, which gives no keys."
        )
