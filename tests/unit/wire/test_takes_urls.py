"""Which media a target may be given by URL."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from pluggably.domain.catalog import Foresight, Target
from pluggably.domain.generation import GenerationRequest, Image, Location, Message, TextParameters
from pluggably.errors import ModelNotFound, UnsupportedModality
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.codecs.openai.options import OpenAIOptions
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
    assert not FixedBackend(Place(options, "local"), NO_CLIENT).takes_urls(TARGET)
    assert not LeasedBackend(Leases(None), NO_CLIENT).takes_urls(TARGET)


class Leases:
    """What there has been a lease of."""

    def __init__(self, options: OpenAIOptions | None) -> None:
        self.options = options

    def last_endpoint(self, target: Target) -> Endpoint | None:
        return Place(self.options, "local").endpoint(target) if self.options is not None else None

    def lease(self, target: Target, keep_alive_s: float | None = None) -> Any:
        raise AssertionError(target)


def test_a_worker_that_has_run_says_what_the_next_one_refuses() -> None:
    """Of a model that was never started nothing is known; of another, that it takes no images, but not what it would
    drop."""
    image = Message("user", [Image(data="AAAA", media_type="image/png")])
    asked = GenerationRequest(
        model="m", modality="text", messages=[image], parameters=TextParameters(top_k=3), stream=True
    )
    blind = OpenAIOptions(inputs=())
    assert LeasedBackend(Leases(None), NO_CLIENT).foresee(asked, TARGET) == Foresight()
    assert LeasedBackend(Leases(OpenAIOptions()), NO_CLIENT).foresee(asked, TARGET) == Foresight()
    assert isinstance(LeasedBackend(Leases(blind), NO_CLIENT).foresee(asked, TARGET).refusal, UnsupportedModality)
    assert FixedBackend(Place(OpenAIOptions()), NO_CLIENT).foresee(asked, TARGET) == Foresight(None, 1)
