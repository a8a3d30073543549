"""A provider: a remote service and our account there. Where a call goes, by which wire, and with which credential.

How the service speaks is its codec's business, and vendors that need no code are rows in `presets`. What surprises: an
address is fixed, so a lease is free and never waits; it is made once for each model, and a request costs nothing but
its look-up. Clients name the models, so a model's name that stands in an address is quoted, and never leaves its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from pluggably.domain.catalog import Target
from pluggably.domain.generation import Location
from pluggably.errors import ModelNotFound
from pluggably.wire.codec import Codec
from pluggably.wire.endpoint import Endpoint, Signer

# Where the model stands in a base URL.
MODEL_GAP = "{model}"


class Wire(Struct, frozen=True):
    """A codec, and the options with which it speaks; the struct of its `Options`, or the data to make it from.

    `models` is a regular expression, matched from the start of the vendor's model id; None: any model. Whether it is
    always asked for a stream, also where the provider's others are not, is `always_streams`."""

    codec: type[Codec]
    options: Any = None
    models: str | None = None
    always_streams: bool = False


class Provider:
    """One account at one service; a `FixedAddress`."""

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        codec: type[Codec],
        options: Mapping[str, Any] | Struct | None = None,
        rules: Sequence[Wire] = (),
        api_keys: Sequence[str] = (),
        key_header: str | None = None,
        location: Location = "remote",
        always_streams: bool = False,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        signers: Sequence[Signer] = (),
    ) -> None:
        """The first of `rules` whose `models` match says which codec a model is spoken to by; `codec` and `options` are
        for all others. Each of `api_keys` is a credential of its own; it goes into `key_header` as it is, or without
        one into `Authorization`, as a bearer's. After them each of `signers` is one.

        Raises: msgspec.ValidationError for options that a codec does not have, re.error for a rule that is no regular
        expression."""
        self.name = name
        self.location = location
        self.base_url = base_url.rstrip("/")
        self._wires = [
            (
                re.compile(wire.models or ""),
                wire.codec,
                _options(wire.codec, wire.options),
                wire.always_streams or always_streams,
            )
            for wire in (*rules, Wire(codec, options))
        ]
        # One for each credential; they hold the keys. And its signer, where it has one.
        self.headers = [
            {**credential, **(headers or {})} for credential in _credentials(api_keys, key_header, len(signers))
        ]
        self.signers = [*(None for _ in self.headers[len(signers) :]), *signers]
        self.query = urlencode(query or {}, quote_via=quote)
        self._endpoints: dict[tuple[str, int], Endpoint] = {}

    @property
    def credentials(self) -> int:
        """How many credentials there are to choose from: one at least, which may be none at all."""
        return len(self.headers)

    def endpoint(self, target: Target, credential: int = 0) -> Endpoint:
        """Where a target's calls go, with the credential of this index.

        Raises: ModelNotFound for a name that cannot stand in the provider's address."""
        key = (target.model, credential)
        return self._endpoints.get(key) or self._endpoint(key)

    def _endpoint(self, key: tuple[str, int]) -> Endpoint:
        if len(self._endpoints) >= 1024:  # clients name the models, so there may be any number
            self._endpoints.clear()
        model, credential = key
        codec, options, always_streams = next(
            (codec, options, streams) for models, codec, options, streams in self._wires if models.match(model)
        )
        endpoint = self._endpoints[key] = Endpoint(
            base_url=self._address_of(model),
            model=model,
            backend=self.name,
            location=self.location,
            codec=codec,
            options=options,
            headers=self.headers[credential],
            signer=self.signers[credential],
            query=self.query,
            always_streams=always_streams,
        )
        return endpoint

    def _address_of(self, model: str) -> str:
        if MODEL_GAP not in self.base_url:
            return self.base_url
        # `..` is a step of the path also when quoted, and some servers take a quoted slash for one.
        if not model.isprintable() or not all(step.strip(".") for step in re.split(r"[/\\]", model)):
            raise ModelNotFound(f"{self.name}: no model there can have this name.", pointer="/model")
        return self.base_url.replace(MODEL_GAP, quote(model, safe=""))

    def __repr__(self) -> str:
        """Without its headers: they hold the key."""
        return f"Provider({self.name!r}, {self.base_url!r})"


def _options(codec: type[Codec], given: Any) -> Struct:
    if isinstance(given, Struct):
        return given
    # Through JSON's types, so that a preset's tuples and a config file's lists are the same.
    options: Struct = msgspec.convert(msgspec.to_builtins(dict(given or {})), codec.Options)
    return options


def _credentials(api_keys: Sequence[str], key_header: str | None, signers: int) -> list[dict[str, str]]:
    """The headers of each credential; a signer brings its own, later."""
    keys = [{key_header: key} if key_header else {"Authorization": f"Bearer {key}"} for key in api_keys]
    return [*keys, *({} for _ in range(signers))] or [{}]
