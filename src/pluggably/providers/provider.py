"""A provider: a remote service and our account there. Where a call goes, and with which credential.

How the service speaks is its codec's business, and vendors that need no code are rows in `presets`. What surprises: an
address is fixed, so a lease is free and never waits; it is prebuilt, and a request costs nothing but its yielding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pluggably.domain.catalog import Target
from pluggably.domain.generation import Location
from pluggably.wire.codec import Codec
from pluggably.wire.endpoint import Endpoint


class Provider:
    """One account at one service; a `FixedAddress`."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        codec: type[Codec],
        options: Mapping[str, Any] | msgspec.Struct | None = None,
        api_keys: Sequence[str] = (),
        location: Location = "remote",
        always_streams: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`options` are the codec's: its struct, or the data to make it from. Each of `api_keys` is a credential of its
        own.

        Raises: msgspec.ValidationError for options that the codec does not have."""
        if not isinstance(options, msgspec.Struct):
            # Through JSON's types, so that a preset's tuples and a config file's lists are the same.
            options = msgspec.convert(msgspec.to_builtins(dict(options or {})), codec.Options)
        credentials = [{"Authorization": f"Bearer {key}"} for key in api_keys] or [{}]
        self.name = name
        self.location = location
        self._base_url = base_url.rstrip("/")
        self._codec = codec
        self._options = options
        self._headers = [{**credential, **(headers or {})} for credential in credentials]
        self._always_streams = always_streams
        self._endpoints: dict[tuple[str, int], Endpoint] = {}

    @property
    def credentials(self) -> int:
        """How many credentials there are to choose from: one at least, which may be none at all."""
        return len(self._headers)

    def endpoint(self, target: Target, credential: int = 0) -> Endpoint:
        """Where a target's calls go, with the credential of this index."""
        key = (target.model, credential)
        return self._endpoints.get(key) or self._endpoint(key)

    def _endpoint(self, key: tuple[str, int]) -> Endpoint:
        if len(self._endpoints) >= 1024:  # clients name the models, so there may be any number
            self._endpoints.clear()
        model, credential = key
        endpoint = self._endpoints[key] = Endpoint(
            base_url=self._base_url,
            model=model,
            backend=self.name,
            location=self.location,
            codec=self._codec,
            options=self._options,
            headers=self._headers[credential],
            always_streams=self._always_streams,
        )
        return endpoint

    def __repr__(self) -> str:
        """Without its headers: they hold the key."""
        return f"Provider({self.name!r}, {self._base_url!r})"
