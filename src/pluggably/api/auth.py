"""Credential → principal. Checked from memory, before a body is read: a refused key costs nothing."""

from __future__ import annotations

from collections.abc import Callable

from pluggably.api.http import HttpRequest
from pluggably.domain.access import Principal, Scope
from pluggably.errors import PermissionDenied, Unauthenticated

Authenticate = Callable[[str], Principal | None]


def principal_of(request: HttpRequest, authenticate: Authenticate) -> Principal:
    """Raises: Unauthenticated."""
    authorization = request.header(b"authorization")
    if authorization:
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer":
            raise Unauthenticated("Send the key as `Authorization: Bearer <key>` or as `X-API-Key: <key>`.")
    else:
        token = request.header(b"x-api-key")
        if not token:
            raise Unauthenticated(
                "No key was sent. Send one as `Authorization: Bearer <key>`; `pluggably keys create` makes one."
            )
    principal = authenticate(token.strip())
    if principal is None:
        raise Unauthenticated("The key is not known, or it was revoked, or it has expired.")
    return principal


def demand(principal: Principal, scope: Scope) -> None:
    """Raises: PermissionDenied."""
    if not principal.has(scope):
        raise PermissionDenied(f"The key lacks the scope `{scope}`.")
