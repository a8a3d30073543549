"""A provider: a remote service and our account there. Where a call goes, and with which credential.

How the service speaks is its codec's business, and vendors that need no code are rows in `presets`. What surprises: an
address is fixed, so a lease is free and never waits; it is prebuilt, and a request costs nothing but its yielding.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        api_key: str | None = None,
        location: Location = "remote",
        always_streams: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`options` are the codec's: its struct, or the data to make it from.

        Raises: msgspec.ValidationError for options that the codec does not have."""
        if not isinstance(options, msgspec.Struct):
            # Through JSON's types, so that a preset's tuples and a config file's lists are the same.
            options = msgspec.convert(msgspec.to_builtins(dict(options or {})), codec.Options)
        credential = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.name = name
        self.location = location
        self._base_url = base_url.rstrip("/")
        self._codec = codec
        self._options = options
        self._headers = {**credential, **(headers or {})}
        self._always_streams = always_streams
        self._endpoints: dict[str, Endpoint] = {}

    def endpoint(self, target: Target) -> Endpoint:
        """Where a target's calls go."""
        return self._endpoints.get(target.model) or self._endpoint(target.model)

    def _endpoint(self, model: str) -> Endpoint:
        if len(self._endpoints) >= 1024:  # clients name the models, so there may be any number
            self._endpoints.clear()
        endpoint = self._endpoints[model] = Endpoint(
            base_url=self._base_url,
            model=model,
            backend=self.name,
            location=self.location,
            codec=self._codec,
            options=self._options,
            headers=self._headers,
            always_streams=self._always_streams,
        )
        return endpoint

    def __repr__(self) -> str:
        """Without its headers: they hold the key."""
        return f"Provider({self.name!r}, {self._base_url!r})"
