"""What every way to AWS keys needs: the variables, the time, whom to ask and where, and how to say no."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from pluggably.errors import BackendAuthenticationFailed
from pluggably.providers.credentials import Ask

_REGION = re.compile(r"[a-z0-9-]{1,40}")


class Surroundings(Struct, frozen=True):
    """Of the provider `name`, whose models are in `region`."""

    name: str
    region: str
    environment: Mapping[str, str]
    ask: Ask
    clock: Callable[[], float]

    def variable(self, name: str) -> str | None:
        return self.environment.get(name, "").strip() or None

    def home(self) -> Path:
        return Path(self.variable("HOME") or "/nonexistent")

    def endpoint(self, service: str, host: str, region: str) -> str:
        """Where a service of AWS is in a region; AWS's own variable `AWS_ENDPOINT_URL_<service>` stands over it.

        Raises: BackendAuthenticationFailed for a region that is no part of a host's name."""
        given = self.variable(f"AWS_ENDPOINT_URL_{service}")
        if given is not None:
            return given.rstrip("/")
        if not _REGION.fullmatch(region):
            raise self.refused("a region in its profile is not the name of one.")
        return f"https://{host}.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")

    def at(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def refused(self, detail: str) -> BackendAuthenticationFailed:
        return BackendAuthenticationFailed(f"{self.name}: {detail}")


def seconds(date: str) -> float | None:
    """An ISO date in seconds since 1970; without a time zone it is in UTC. Raises: ValueError."""
    if not date:
        return None
    # Files of `aws sso login` have ended in UTC.
    found = datetime.fromisoformat(date.removesuffix("UTC"))
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
