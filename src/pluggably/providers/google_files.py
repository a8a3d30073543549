"""What each kind of Google's credentials files is exchanged for: an access token.

A service account's key signs a statement of its own, for which Google gives a token; a person's login is a refresh
token. A workload elsewhere has a token of its own identity provider (`google_subjects`), which Google's Security Token
Service takes for one of Google's ("workload identity federation"); a person of a company that logs in there has a
refresh token of that service ("workforce identity federation"). And each of them may ask for the token of a service
account, in whose place it acts.

What surprises: signing needs RSA, which the standard library has not, so it is an extra (`pluggably[google]`), imported
when a service account's key is used; the other ways need nothing. And where a workload's token goes is written in a
file, so only Google's own addresses are taken, as Google demands of whoever did not write the file himself.

Source: developers.google.com/identity/protocols/oauth2/service-account#httprest; google.aip.dev/auth/4117;
cloud.google.com/docs/authentication/client-libraries, "Security requirements when using credential configurations from
an external source"; cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/
generateAccessToken (2026-11). What is sent is also in google-auth 2.62.2.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from pluggably.errors import BackendAuthenticationFailed, BackendError
from pluggably.providers.credentials import FETCH_S, Ask, Fetched
from pluggably.providers.google_subjects import SubjectSource, Workload
from pluggably.wire.codec import HttpReply

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  an address
ASSERTION_S = 3600
LIFETIME_S = 3600
CHECK_ACCOUNT = "Check the account and its key, and the clock of this machine."
# The two services have regional and private names, too, and one for mutual TLS; all of googleapis.com is Google's.
_HOST = r"https://([a-z0-9-]+[.-])?{}([.-][a-z0-9-]+)*\.googleapis\.com"
_EXCHANGE_URL = re.compile(_HOST.format("sts") + r"/v1/token")
# As gcloud writes it, and as it stands in google-auth, external_account_authorized_user.py.
_REFRESH_URL = re.compile(_HOST.format("sts") + r"/v1/oauth/?token")
_IMPERSONATION_URL = re.compile(
    _HOST.format("iamcredentials") + r"/v1/projects/-/serviceAccounts/[^/:?#\s]+:generateAccessToken"
)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json"}


class Token(Struct, frozen=True):
    """An access token, and the project to which calls are charged, where the credentials name one."""

    text: str
    quota_project: str | None = None

    def __repr__(self) -> str:
        return "Token(…)"


class FileExchange:
    """Gets tokens for credentials files of the provider `name`."""

    def __init__(self, name: str, environment: Mapping[str, str], asks: Ask, clock: Callable[[], float]) -> None:
        self._name = name
        self._ask = asks
        self._clock = clock
        self._subjects = SubjectSource(name, environment, asks, clock)
        # What has come in place of a file's refresh token.
        self._renewed: dict[str, str] = {}

    async def token_of(self, text: str, where: str) -> Fetched[Token]:
        """`where` is what the file is called in an error. Raises: BackendAuthenticationFailed, BackendError."""
        try:
            file = msgspec.json.decode(text, type=CredentialsFile)
        except (msgspec.DecodeError, UnicodeError):
            raise self._refused(f"{where} are no credentials file of Google (JSON).") from None
        if file.type != "impersonated_service_account":
            return await self._of(file, where)
        url = self._impersonation_url(file, where)
        own = await self._of(file.source_credentials or CredentialsFile(), f"the `source_credentials` of {where}")
        return await self._impersonated(url, file, own.value)

    async def _of(self, file: CredentialsFile, where: str) -> Fetched[Token]:
        if file.type == "service_account":
            return await self._of_service_account(file, where)
        if file.type == "authorized_user":
            return await self._of_person(file)
        if file.type == "external_account":
            return await self._of_workload(file, where)
        if file.type == "external_account_authorized_user":
            return await self._of_workforce(file, where)
        raise self._refused(
            f"{where} are of the type `{file.type[:60]}`, which the gateway does not take. It takes the key of a "
            "service account, a file of workload identity federation, `gcloud auth application-default login`, a "
            "service account that one of these acts for, and the metadata of a machine."
        )

    async def _of_service_account(self, file: CredentialsFile, where: str) -> Fetched[Token]:
        url = file.token_uri or TOKEN_URL
        issued = int(self._clock())
        claims = {"iss": file.client_email, "scope": SCOPE, "aud": url, "iat": issued, "exp": issued + ASSERTION_S}
        assertion = self._signed(claims, file, where)
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return self.told(await self._ask("POST", url, _FORM, urlencode(form).encode(), FETCH_S), None)

    def _signed(self, claims: Mapping[str, object], file: CredentialsFile, where: str) -> str:
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

    async def _of_person(self, file: CredentialsFile) -> Fetched[Token]:
        form = {
            "grant_type": "refresh_token",
            "client_id": file.client_id,
            "client_secret": file.client_secret,
            "refresh_token": file.refresh_token,
        }
        reply = await self._ask("POST", file.token_uri or TOKEN_URL, _FORM, urlencode(form).encode(), FETCH_S)
        return self.told(reply, file.quota_project_id)

    async def _of_workload(self, file: CredentialsFile, where: str) -> Fetched[Token]:
        if not _EXCHANGE_URL.fullmatch(file.token_url):
            raise self._foreign("token_url", where, "https://sts.googleapis.com/v1/token")
        acts_for = file.service_account_impersonation_url is not None
        url = self._impersonation_url(file, where) if acts_for else ""
        workload = Workload(file.audience, file.credential_source or {}, where)
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": file.audience,
            "scope": SCOPE,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token": await self._subjects.token(workload),
            "subject_token_type": file.subject_token_type,
        }
        headers = _client_headers(file)
        if not file.client_id and file.workforce_pool_user_project:
            project = {"userProject": file.workforce_pool_user_project}
            form["options"] = quote(msgspec.json.encode(project).decode())
        reply = await self._ask("POST", file.token_url, headers, urlencode(form).encode(), FETCH_S)
        own = self.told(reply, file.quota_project_id, "Check the pool, its provider, and the token of the workload.")
        return await self._impersonated(url, file, own.value) if acts_for else own

    async def _of_workforce(self, file: CredentialsFile, where: str) -> Fetched[Token]:
        """A login through a company's own identity provider. With a token may come another refresh token, which then
        stands in place of the one before it."""
        if not _REFRESH_URL.fullmatch(file.token_url):
            raise self._foreign("token_url", where, "https://sts.googleapis.com/v1/oauthtoken")
        refresh_token = self._renewed.get(file.refresh_token, file.refresh_token)
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        reply = await self._ask("POST", file.token_url, _client_headers(file), urlencode(form).encode(), FETCH_S)
        told = self.told(reply, file.quota_project_id, "Log in anew: `gcloud auth application-default login`.")
        renewed = msgspec.json.decode(reply.body, type=_TokenReply, strict=False).refresh_token
        if renewed:
            self._renewed[file.refresh_token] = renewed
        return told

    async def _impersonated(self, url: str, file: CredentialsFile, own: Token) -> Fetched[Token]:
        """The token of the service account that the file names, asked for with one's own."""
        lifetime_s = file.service_account_impersonation.token_lifetime_seconds
        body: dict[str, Any] = {"scope": [SCOPE], "lifetime": f"{lifetime_s}s"}
        if file.delegates:
            body["delegates"] = file.delegates
        headers = {**_JSON, "Authorization": f"Bearer {own.text}"}
        reply = await self._ask("POST", url, headers, msgspec.json.encode(body), FETCH_S)
        try:
            told = msgspec.json.decode(reply.body, type=_Impersonation)
            expires_at = datetime.fromisoformat(told.expire_time).timestamp()
        except (msgspec.DecodeError, UnicodeError, ValueError):
            told, expires_at = _Impersonation(), 0.0
        if reply.status != 200 or not told.access_token:
            raise self._not_given(
                reply.status,
                "",
                "Who acts for a service account needs `roles/iam.serviceAccountTokenCreator` on it, a workload "
                "`roles/iam.workloadIdentityUser`.",
            )
        return Fetched(Token(told.access_token, file.quota_project_id), expires_at)

    def _impersonation_url(self, file: CredentialsFile, where: str) -> str:
        url = file.service_account_impersonation_url or ""
        if not _IMPERSONATION_URL.fullmatch(url):
            proper = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/…:generateAccessToken"
            raise self._foreign("service_account_impersonation_url", where, proper)
        return url

    def told(self, reply: HttpReply, quota_project: str | None, to_do: str = CHECK_ACCOUNT) -> Fetched[Token]:
        """The token of an answer. Raises: BackendAuthenticationFailed, BackendError."""
        try:
            # Some say the seconds as a text.
            told = msgspec.json.decode(reply.body, type=_TokenReply, strict=False)
        except (msgspec.DecodeError, UnicodeError):
            told = _TokenReply()
        if reply.status != 200 or not told.access_token:
            code = told.error if isinstance(told.error, str) else ""
            raise self._not_given(reply.status, code, to_do)
        return Fetched(Token(told.access_token, quota_project), self._clock() + told.expires_in)

    def _not_given(self, status: int, code: str, to_do: str) -> BackendError:
        detail = f"{self._name}: Google gave no token (status {status}{', ' + code[:60] if code else ''})."
        if status >= 500 or status == 429:
            return BackendError(detail, backend_status=status)
        return BackendAuthenticationFailed(f"{detail} {to_do}")

    def _foreign(self, field: str, where: str, proper: str) -> BackendAuthenticationFailed:
        return self._refused(
            f"`{field}` of {where} is no address of Google, so nothing was sent there. It should be {proper}."
        )

    def _refused(self, detail: str) -> BackendAuthenticationFailed:
        return BackendAuthenticationFailed(f"{self._name}: {detail}")


def _client_headers(file: CredentialsFile) -> Mapping[str, str]:
    """Of a form for the Security Token Service, with who asks, where the file says it."""
    if not file.client_id:
        return _FORM
    pair = base64.b64encode(f"{file.client_id}:{file.client_secret}".encode()).decode()
    return {**_FORM, "Authorization": f"Basic {pair}"}


class _Lifetime(Struct):
    token_lifetime_seconds: int = LIFETIME_S


class CredentialsFile(Struct):
    """The fields of every kind of file."""

    type: str = ""
    quota_project_id: str | None = None
    # A service account's.
    client_email: str = ""
    private_key: str = ""
    private_key_id: str = ""
    token_uri: str = ""
    # A person's; of a workload, what it shows the Security Token Service.
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""
    # A workload's.
    audience: str = ""
    subject_token_type: str = ""
    token_url: str = ""
    credential_source: dict[str, Any] | None = None
    workforce_pool_user_project: str = ""
    # Of whoever acts for a service account.
    service_account_impersonation_url: str | None = None
    service_account_impersonation: _Lifetime = msgspec.field(default_factory=_Lifetime)
    source_credentials: CredentialsFile | None = None
    delegates: list[str] = []

    def __repr__(self) -> str:
        """Without its secrets."""
        return f"CredentialsFile({self.type!r})"


class _TokenReply(Struct):
    access_token: str = ""
    expires_in: float = 300.0
    refresh_token: str = ""
    error: object = None


class _Impersonation(Struct, rename="camel"):
    access_token: str = ""
    expire_time: str = ""
