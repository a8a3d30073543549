"""The keys that AWS IAM Identity Center gives to who has signed in by `aws sso login`.

Signing in needs a browser, so it is done by AWS's own tool. It leaves a token in a file, and with the token the portal
gives a role's keys. What surprises: a token that was got by a session (`sso_session`) brings another one with it, by
which it is renewed here, until the session itself is over. The new token goes back into the file, for AWS's tools and
for the next start: the one that got it may be good for nothing any more. Where the file cannot be written, this
process alone knows it.

Source: docs.aws.amazon.com/sdkref/latest/guide/feature-sso-credentials.html and …/understanding-sso.html,
…/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html, …/OIDCAPIReference/API_CreateToken.html (2026-11);
the names and fields of the files are those of botocore 1.44.5.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import msgspec
import structlog
from msgspec import Struct

from pluggably.errors import BackendAuthenticationFailed, BackendError, PluggablyError
from pluggably.providers.aws_profiles import Section
from pluggably.providers.aws_signature import AwsKeys
from pluggably.providers.aws_surroundings import Surroundings, seconds
from pluggably.providers.credentials import FETCH_S, Fetched

log = structlog.get_logger(__name__)

# A token that is good for less is renewed, as AWS's tools do it.
EARLY_S = 900.0
_NEEDED = ("sso_start_url", "sso_region", "sso_account_id", "sso_role_name")
# What `aws sso login` leaves; what else stands in its file is kept there.
Token: TypeAlias = dict[str, Any]


class IdentityCenter:
    """Asks for the keys of profiles that sign in there. Keeps the tokens that it has renewed."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._renewed: dict[Path, Token] = {}

    async def keys(self, profile: str, entry: Section, sessions: Mapping[str, Section]) -> Fetched[AwsKeys]:
        """Raises: BackendAuthenticationFailed, BackendError."""
        around = self._around
        entry = self._with_session(profile, entry, sessions)
        missing = [name for name in _NEEDED if not entry.get(name)]
        if missing:
            raise around.refused(f"the profile `{profile}` lacks {', '.join(missing)} for IAM Identity Center.")
        token = await self._token(profile, entry)
        query = urlencode({"role_name": entry["sso_role_name"], "account_id": entry["sso_account_id"]})
        url = f"{around.endpoint('SSO', 'portal.sso', entry['sso_region'])}/federation/credentials?{query}"
        reply = await around.ask("GET", url, {"x-amz-sso_bearer_token": token}, b"", FETCH_S)
        if reply.status == 401:
            raise self._signed_out(profile)
        if reply.status >= 500 or reply.status == 429:
            raise BackendError(
                f"{around.name}: IAM Identity Center answered {reply.status}.", backend_status=reply.status
            )
        if reply.status != 200:
            raise around.refused(
                f"IAM Identity Center gives no keys for the profile `{profile}` ({reply.status}). Check its "
                "`sso_account_id` and `sso_role_name`."
            )
        told = msgspec.json.decode(reply.body, type=_Given).role_credentials
        return Fetched(AwsKeys(told.access_key_id, told.secret_access_key, told.session_token), told.expiration / 1000)

    def _with_session(self, profile: str, entry: Section, sessions: Mapping[str, Section]) -> Section:
        """The profile with what its session says. They must not say two things."""
        name = entry.get("sso_session")
        if name is None:
            return entry
        if name not in sessions:
            raise self._around.refused(f"there is no section `[sso-session {name}]`, which `{profile}` names.")
        both = [key for key, value in sessions[name].items() if entry.get(key, value) != value]
        if both:
            raise self._around.refused(f"{', '.join(both)} of the profile `{profile}` is not that of its session.")
        return {**entry, **sessions[name]}

    # ── the token ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _token(self, profile: str, entry: Section) -> str:
        name = entry.get("sso_session") or entry["sso_start_url"]
        digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        path = self._around.home() / ".aws" / "sso" / "cache" / f"{digest}.json"
        token = await self._newest(path)
        if token is None:
            raise self._signed_out(profile)
        if self._left_s(token) < EARLY_S and "sso_session" in entry and self._is_renewable(token):
            try:
                token = await self._renew(profile, entry, token, path)
            except PluggablyError:
                # Another process, or another provider here, may have been first.
                token = await self._newest(path) or token
                if self._left_s(token) <= 0:
                    raise
        elif self._left_s(token) <= 0:
            raise self._signed_out(profile)
        text = str(token["accessToken"])
        if not text.isascii() or not text.isprintable():
            raise self._signed_out(profile)
        return text

    async def _newest(self, path: Path) -> Token | None:
        """The token of the file, or one that could not be written there. Without the file nobody is signed in."""
        found = await asyncio.to_thread(_read, path)
        if found is None:
            self._renewed.pop(path, None)
            return None
        return max(found, self._renewed.get(path, found), key=_expires_at)

    def _left_s(self, token: Token) -> float:
        return _expires_at(token) - self._around.clock()

    def _is_renewable(self, token: Token) -> bool:
        if not all(isinstance(token.get(name), str) for name in ("refreshToken", "clientId", "clientSecret")):
            return False
        try:
            return (seconds(str(token.get("registrationExpiresAt", ""))) or 0.0) > self._around.clock()
        except ValueError:
            return False

    async def _renew(self, profile: str, entry: Section, token: Token, path: Path) -> Token:
        """Raises: BackendAuthenticationFailed where the session is over; BackendError."""
        around = self._around
        asked = {name: token[name] for name in ("clientId", "clientSecret", "refreshToken")}
        body = msgspec.json.encode({"grantType": "refresh_token", **asked})
        url = around.endpoint("SSO_OIDC", "oidc", entry["sso_region"]) + "/token"
        reply = await around.ask("POST", url, {"Content-Type": "application/json"}, body, FETCH_S)
        if reply.status >= 500 or reply.status == 429:
            raise BackendError(
                f"{around.name}: IAM Identity Center answered {reply.status}.", backend_status=reply.status
            )
        if reply.status != 200:
            raise self._signed_out(profile)
        told = msgspec.json.decode(reply.body, type=_NewToken)
        ends = datetime.fromtimestamp(around.clock() + told.expires_in, UTC)
        new = {**token, "accessToken": told.access_token, "expiresAt": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if told.refresh_token:
            new["refreshToken"] = told.refresh_token
        self._renewed[path] = new
        try:
            await asyncio.to_thread(_write, path, new)
        except OSError as error:
            log.warning("sso_token_not_kept", provider=around.name, path=str(path), detail=error.strerror)
        return new

    def _signed_out(self, profile: str) -> BackendAuthenticationFailed:
        return self._around.refused(
            f"nobody is signed in to IAM Identity Center for the profile `{profile}`, or no longer. Run `aws sso login "
            f"--profile {profile}` as the user that the gateway runs as; it is tried again by itself."
        )


class _RoleKeys(Struct, rename="camel"):
    access_key_id: str
    secret_access_key: str
    session_token: str
    # In milliseconds.
    expiration: int


class _Given(Struct, rename="camel"):
    role_credentials: _RoleKeys


class _NewToken(Struct, rename="camel"):
    access_token: str
    expires_in: int
    refresh_token: str | None = None


def _expires_at(token: Token) -> float:
    return seconds(token["expiresAt"]) or 0.0


def _read(path: Path) -> Token | None:
    """The token of a file; None where there is none."""
    try:
        token = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        _expires_at(token)
    except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError, RecursionError):
        return None
    return token if isinstance(token.get("accessToken"), str) else None


def _write(path: Path, token: Token) -> None:
    """Whole or not at all, and for nobody else to read. Raises: OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(token))
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
