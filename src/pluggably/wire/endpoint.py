"""Where a backend is: what a lease gives, and who gives leases.

A provider's address is fixed; a runner's is leased from the pool, which may have to start a process and wait. After
that they are the same thing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from msgspec import Struct

from pluggably.domain.catalog import Target
from pluggably.domain.generation import Location, Progress
from pluggably.wire.codec import Codec


class Signer(Protocol):
    """Lets calls in that no fixed header does: each has to be signed, or needs a token that runs out."""

    async def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """All headers to send, with those that let this one call in. `url` is as it is sent.

        Raises: BackendAuthenticationFailed, with what the operator must do; BackendError."""
        ...


class Endpoint(Struct, frozen=True, kw_only=True):
    """A leased backend: where it is, and the headers that let us in. Made by a provider or the runner pool; the
    headers are added by the transport before every send, so codecs never see a secret. Where headers alone do not let
    a call in, there is a `signer`."""

    base_url: str
    model: str
    backend: str
    location: Location
    codec: type[Codec]
    options: Any
    headers: Mapping[str, str] = {}
    signer: Signer | None = None
    # Goes behind every URL of a call, without the question mark: a vendor's `api-version`.
    query: str = ""
    # A backend that notices a lost client only while it streams is always asked for a stream (llama.cpp's server).
    always_streams: bool = False


class FixedAddress(Protocol):
    """A provider."""

    @property
    def credentials(self) -> int:
        """How many credentials there are, at least one."""
        ...

    def endpoint(self, target: Target, credential: int = 0) -> Endpoint:
        """Where a target's calls go, with the provider's credential of this index."""
        ...


class AddressSource(Protocol):
    """The runner pool."""

    def lease(self, target: Target, keep_alive_s: float | None = None) -> AsyncGenerator[Progress | Endpoint, None]:
        """Yields progress while it has to wait, then the endpoint, once and last. Closing the generator gives the
        lease back, so it is to be held under `contextlib.aclosing`.

        Raises: Overloaded, ModelUnavailable, ShuttingDown."""
        ...

    def last_endpoint(self, target: Target) -> Endpoint | None:
        """What a lease gave most recently. Nobody may be there any more, but the wire is that of the next one, too."""
        ...
