"""Who may do what: keys, principals and scopes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from pluggably.domain.generation import Location

Scope: TypeAlias = Literal["generate", "models:read", "models:write", "metrics", "admin"]
SCOPES: frozenset[str] = frozenset(get_args(Scope))
MAX_KEY_NAME = 100
DEFAULT_SCOPES: tuple[Scope, ...] = ("generate", "models:read")


class Principal(Struct, frozen=True):
    """The caller once authenticated. `id` is the id of its key: safe to log, and the label of its usage. With a
    `location` its data goes nowhere else."""

    id: str
    name: str
    scopes: frozenset[str]
    location: Location | None = None

    def has(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key as it is kept and listed: never its secret, which is shown once when the key is made."""

    id: str
    name: str
    scopes: list[Scope]
    location: Location | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
