"""What a provider's entry in the config comes to."""

from __future__ import annotations

import pytest

from pluggably.assembly import list_address, starting_row
from pluggably.config import Provider as Entry
from pluggably.providers.build import build_provider
from pluggably.providers.presets import PRESETS
from pluggably.wire.codecs.openai import OpenAICodec

OWN = "http://10.0.0.5:9000/v1"


def address(name: str, entry: Entry) -> str | None:
    row = starting_row(name, entry)
    provider = build_provider(
        name,
        row,
        {"openai": OpenAICodec, "openai_responses": OpenAICodec},
        codec=entry.codec,
        base_url=entry.base_url,
        api_keys=["k"],
        variables=entry.variables,
    )
    return list_address(provider, row, entry)


@pytest.mark.parametrize("name", [name for name, row in PRESETS.items() if row.models and "://" in row.models.path])
def test_a_key_for_another_address_does_not_go_to_the_vendor(name: str) -> None:
    """A list that stands at an address of its own is read only where the preset's own address is used."""
    entry = Entry(base_url=OWN, variables=dict.fromkeys(PRESETS[name].variables, "x"))
    assert address(name, entry) is None
    assert "://" in str(address(name, Entry(variables=entry.variables)))


def test_a_list_behind_the_address_moves_with_it() -> None:
    """A server that speaks like a preset lists its models like it."""
    assert address("groq", Entry(base_url=OWN)) == f"{OWN}/models"
    assert address("mine", Entry(codec="openai", base_url=OWN)) == f"{OWN}/models"


def test_prices_are_those_of_the_presets_own_address() -> None:
    """What a vendor charges says nothing of a server elsewhere."""
    assert (row := starting_row("groq", Entry())) is not None
    assert row.price_list == "groq"
    assert (row := starting_row("groq", Entry(base_url=OWN))) is not None
    assert row.price_list is None
    assert starting_row("groq", Entry(codec="openai", base_url=OWN)) is None
