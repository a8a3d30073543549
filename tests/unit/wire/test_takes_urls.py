"""Which media a target may be given by URL."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from pluggably.domain.catalog import Target
from pluggably.domain.generation import Location
from pluggably.errors import ModelNotFound
from pluggably.wire.codecs.openai import OpenAICodec
from pluggably.wire.codecs.openai_options import OpenAIOptions
from pluggably.wire.endpoint import Endpoint
from pluggably.wire.transport import FixedBackend, LeasedBackend

TARGET = Target(backend="b", model="m", location="remote")
NO_CLIENT: Any = None


class Place:
    """One address, or none for this model."""

    credentials = 1

    def __init__(self, options: Any, location: Location = "remote") -> None:
        self.options = options
        self.location = location

    def endpoint(self, target: Target, credential: int = 0) -> Endpoint:
        if self.options is None:
            raise ModelNotFound("no such name")
        return Endpoint(
            base_url="https://b.test",
            model="m",
            backend="b",
            location=self.location,
            codec=OpenAICodec,
            options=self.options,
        )


class Silent(Struct):
    """The options of a codec that does not say what it takes."""


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (OpenAIOptions(), ["image"]),
        (OpenAIOptions(inputs=("image", "file", "audio")), []),
        (OpenAIOptions(inputs=("image_url", "file_url")), ["image", "file"]),
        (Silent(), []),
        (None, []),
    ],
)
def test_a_providers_codec_says_what_it_takes(options: Any, kinds: list[str]) -> None:
    """URLs go only where the codec's options say so."""
    assert list(FixedBackend(Place(options), NO_CLIENT).takes_urls(TARGET)) == kinds


def test_nothing_local_is_given_a_url() -> None:
    """Neither a server on the operator's network nor a worker is, whatever its codec could do."""
    options = OpenAIOptions(inputs=("image", "image_url", "file_url"))
    source: Any = None
    assert not FixedBackend(Place(options, "local"), NO_CLIENT).takes_urls(TARGET)
    assert not LeasedBackend(source, NO_CLIENT).takes_urls(TARGET)
