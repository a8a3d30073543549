"""What a provider's entry in the config comes to."""

from __future__ import annotations

import pytest

from pluggably.assembly import list_sources, moved, starting_row
from pluggably.config import Provider as Entry
from pluggably.providers.build import build_provider
from pluggably.providers.listing import ListSource
from pluggably.providers.presets import PRESETS, ModelList, Preset, Variable
from pluggably.wire.codecs.openai.codec import OpenAICodec

OWN = "http://10.0.0.5:9000/v1"


def addresses(name: str, entry: Entry) -> list[str]:
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
    return [source.url for source in list_sources(provider, row, entry)]


@pytest.mark.parametrize("name", [name for name, row in PRESETS.items() if row.models and "://" in row.models.path])
def test_a_key_for_another_address_does_not_go_to_the_vendor(name: str) -> None:
    """A list that stands at an address of its own is read only where the preset's own address is used."""
    entry = Entry(base_url=OWN, variables=dict.fromkeys(PRESETS[name].variables, "x"))
    assert addresses(name, entry) == []
    assert addresses(name, Entry(variables=entry.variables)) != []


def test_a_list_behind_the_address_moves_with_it() -> None:
    """A server that speaks like a preset lists its models like it."""
    assert addresses("groq", Entry(base_url=OWN)) == [f"{OWN}/models"]
    assert addresses("mine", Entry(codec="openai", base_url=OWN)) == [f"{OWN}/models"]


def test_lists_of_another_server_move_to_the_operators_own() -> None:
    """One server then stands for all of the vendor's; nothing is asked at the vendor's."""
    lists = ModelList(server="https://lists.{region}.example", path="/a", also=(ModelList(path="/b", form="cohere"),))
    row = Preset(
        title="V",
        base_url="https://v.{region}.example",
        docs="",
        checked="",
        models=lists,
        variables={"region": Variable(means="where")},
    )
    entry = Entry(variables={"region": "x"})
    provider = build_provider("v", row, {"openai": OpenAICodec}, api_keys=["k"], variables=entry.variables)
    assert list_sources(provider, row, entry) == [
        ListSource("https://lists.x.example/a"),
        ListSource("https://v.x.example/b", "cohere"),
    ]
    assert moved(lists) == ModelList(path="/a", also=(ModelList(path="/b", form="cohere"),))
    assert moved(ModelList(path="https://lists.example/a")) is None


def test_prices_are_those_of_the_presets_own_address() -> None:
    """What a vendor charges says nothing of a server elsewhere."""
    assert (row := starting_row("groq", Entry())) is not None
    assert row.price_list == "groq"
    assert (row := starting_row("groq", Entry(base_url=OWN))) is not None
    assert row.price_list is None
    assert starting_row("groq", Entry(codec="openai", base_url=OWN)) is None
