"""Where Google's access tokens come from, and the signer that puts them into a call.

The places are those of Google's own libraries ("application default credentials"): what the config says, the file that
GOOGLE_APPLICATION_CREDENTIALS names, the one that `gcloud auth application-default login` writes, and the metadata of
the machine. A service account's key signs a statement of its own, for which Google gives a token; a person's login is a
refresh token. Other kinds of files are not understood, and the error says so.

What surprises: signing needs RSA, which the standard library has not, so it is an extra (`pluggably[google]`), imported
when a service account's key is used; the other ways need nothing.

Source: cloud.google.com/docs/authentication/application-default-credentials;
developers.google.com/identity/protocols/oauth2/service-account#httprest;
cloud.google.com/compute/docs/access/authenticate-workloads#applications (2026-11).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from pluggably.errors import BackendAuthenticationFailed, BackendError, PluggablyError
from pluggably.providers.credentials import FETCH_S, Ask, Fetched, Renewed, ask
from pluggably.wire.codec import HttpReply

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  an address
METADATA_HOST = "metadata.google.internal"
METADATA_S = 3.0
ASSERTION_S = 3600
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Token(Struct, frozen=True):
    """An access token, and the project to which a person's calls are charged, where their file names one."""

    text: str
    quota_project: str | None = None

    def __repr__(self) -> str:
        return "Token(…)"


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
        self._clock = clock

    async def fetch(self) -> Fetched[Token]:
        """Raises: BackendAuthenticationFailed, BackendError."""
        text, where = self._credentials, "the credentials in the config"
        if text is None:
            text, where = await asyncio.to_thread(self._file)
        if text is None:
            return await self._of_machine()
        try:
            file = msgspec.json.decode(text, type=_CredentialsFile)
        except (msgspec.DecodeError, UnicodeError):
            raise self._refused(f"{where} are no credentials file of Google (JSON).") from None
        if file.type == "service_account":
            return await self._of_service_account(file, where)
        if file.type == "authorized_user":
            return await self._of_person(file)
        raise self._refused(
            f"{where} are of the type `{file.type[:60]}`, which the gateway does not take. It takes the key of a "
            "service account, `gcloud auth application-default login`, and the metadata of a machine."
        )

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

    async def _of_service_account(self, file: _CredentialsFile, where: str) -> Fetched[Token]:
        url = file.token_uri or TOKEN_URL
        issued = int(self._clock())
        claims = {"iss": file.client_email, "scope": SCOPE, "aud": url, "iat": issued, "exp": issued + ASSERTION_S}
        assertion = self._signed(claims, file, where)
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return self._token(await self._ask("POST", url, _FORM, urlencode(form).encode(), FETCH_S), None)

    def _signed(self, claims: Mapping[str, object], file: _CredentialsFile, where: str) -> str:
        try:
            from joserfc import jwt
            from joserfc.jwk import RSAKey
        except ImportError:
            raise self._refused(
                "the key of a service account needs a package that is not installed. Run `pip install "
                "'pluggably[google]'`."
            ) from None
        header = {"alg": "RS256", "typ": "JWT"}
        if file.private_key_id:
            header["kid"] = file.private_key_id
        try:
            return jwt.encode(header, dict(claims), RSAKey.import_key(file.private_key), algorithms=["RS256"])
        except Exception:  # noqa: BLE001  whatever the libraries raise over a wrong key; their words may quote it
            raise self._refused(f"{where} hold no private key that can be read.") from None

    async def _of_person(self, file: _CredentialsFile) -> Fetched[Token]:
        form = {
            "grant_type": "refresh_token",
            "client_id": file.client_id,
            "client_secret": file.client_secret,
            "refresh_token": file.refresh_token,
        }
        reply = await self._ask("POST", file.token_uri or TOKEN_URL, _FORM, urlencode(form).encode(), FETCH_S)
        return self._token(reply, file.quota_project_id)

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
        return self._token(reply, None)

    def _token(self, reply: HttpReply, quota_project: str | None) -> Fetched[Token]:
        try:
            told = msgspec.json.decode(reply.body, type=_TokenReply)
        except (msgspec.DecodeError, UnicodeError):
            told = _TokenReply()
        if reply.status != 200 or not told.access_token:
            code = told.error if isinstance(told.error, str) else ""
            detail = f"Google gave no token (status {reply.status}{', ' + code[:60] if code else ''})."
            if reply.status >= 500 or reply.status == 429:
                raise BackendError(f"{self._name}: {detail}", backend_status=reply.status)
            raise self._refused(f"{detail} Check the account and its key, and the clock of this machine.")
        return Fetched(Token(told.access_token, quota_project), self._clock() + told.expires_in)

    def _variable(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def _refused(self, detail: str) -> BackendAuthenticationFailed:
        return BackendAuthenticationFailed(f"{self._name}: {detail}")


class _CredentialsFile(Struct):
    type: str = ""
    client_email: str = ""
    private_key: str = ""
    private_key_id: str = ""
    token_uri: str = ""
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""
    quota_project_id: str | None = None


class _TokenReply(Struct):
    access_token: str = ""
    expires_in: float = 300.0
    error: object = None
