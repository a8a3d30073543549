"""Where the gateway finds Google's credentials, and the signer that puts their token into a call.

The places are those of Google's own libraries ("application default credentials"): what the config says, the file that
GOOGLE_APPLICATION_CREDENTIALS names, the one that `gcloud auth application-default login` writes, and the metadata of
the machine. How a file is exchanged for a token, kind by kind, is told in `google_files`.

What surprises: a file is read again each time a token is needed, since whoever made it may have put another in its
place.

Source: cloud.google.com/docs/authentication/application-default-credentials;
cloud.google.com/compute/docs/access/authenticate-workloads#applications (2026-11).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pluggably.errors import BackendAuthenticationFailed, PluggablyError
from pluggably.providers.credentials import Ask, Fetched, Renewed, ask
from pluggably.providers.google_files import FileExchange, Token

METADATA_HOST = "metadata.google.internal"
METADATA_S = 3.0


class GoogleSigner:
    """Puts the current token into each call. A `Signer`."""

    def __init__(self, token: Renewed[Token]) -> None:
        self._token = token

    async def sign(
        self,
        method: str,  # noqa: ARG002  a token says nothing of the call
        url: str,  # noqa: ARG002
        headers: Mapping[str, str],
        body: bytes,  # noqa: ARG002
    ) -> Mapping[str, str]:
        token = await self._token.current()
        signed = {**headers, "Authorization": f"Bearer {token.text}"}
        if token.quota_project:
            signed["X-Goog-User-Project"] = token.quota_project
        return signed


def google_signer(
    name: str,
    credentials: str | None,
    environment: Mapping[str, str],
    *,
    asks: Ask = ask,
    clock: Callable[[], float] = time.time,
) -> GoogleSigner:
    """The signer of the provider `name`; `credentials` is the text of a credentials file, None: look in the usual
    places."""
    source = TokenSource(name, credentials, environment, asks, clock)
    return GoogleSigner(Renewed(source.fetch, clock=clock))


class TokenSource:
    """Gets tokens."""

    def __init__(
        self,
        name: str,
        credentials: str | None,
        environment: Mapping[str, str],
        asks: Ask = ask,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._credentials = credentials
        self._environment = environment
        self._ask = asks
        self._exchange = FileExchange(name, environment, asks, clock)

    async def fetch(self) -> Fetched[Token]:
        """Raises: BackendAuthenticationFailed, BackendError."""
        text, where = self._credentials, "the credentials in the config"
        if text is None:
            text, where = await asyncio.to_thread(self._file)
        if text is None:
            return await self._of_machine()
        return await self._exchange.token_of(text, where)

    def _file(self) -> tuple[str | None, str]:
        """The text of the credentials file, and where it stands. Runs in a thread."""
        named = self._variable("GOOGLE_APPLICATION_CREDENTIALS")
        if named is not None:
            try:
                return Path(named).read_text("utf-8"), f"the credentials in {named}"
            except (OSError, ValueError):
                raise self._refused(f"{named}, which GOOGLE_APPLICATION_CREDENTIALS names, cannot be read.") from None
        folder = self._variable("CLOUDSDK_CONFIG")
        home = self._variable("HOME")
        if folder is None and home is None:
            return None, ""
        place = Path(folder) if folder else Path(home or "") / ".config" / "gcloud"
        path = place / "application_default_credentials.json"
        try:
            return path.read_text("utf-8"), f"the credentials in {path}"
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError):
            raise self._refused(f"{path} cannot be read.") from None

    async def _of_machine(self) -> Fetched[Token]:
        host = self._variable("GCE_METADATA_HOST") or METADATA_HOST
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
        try:
            reply = await self._ask("GET", url, {"Metadata-Flavor": "Google"}, b"", METADATA_S)
        except PluggablyError:
            raise self._refused(
                "no Google credentials were found. Set GOOGLE_APPLICATION_CREDENTIALS to the path of a service "
                "account's key, or run `gcloud auth application-default login`, or run on a machine of Google."
            ) from None
        return self._exchange.told(reply, None)

    def _variable(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def _refused(self, detail: str) -> BackendAuthenticationFailed:
        return BackendAuthenticationFailed(f"{self._name}: {detail}")
