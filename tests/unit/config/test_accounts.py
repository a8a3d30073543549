"""Which providers there are, once the environment is added to the file."""

from __future__ import annotations

import msgspec
from reading import VOCABULARY, Row, config

from pluggably.config import Secret
from pluggably.config.accounts import Accounts, accounts


def found(text: str, environment: dict[str, str]) -> Accounts:
    return accounts(config(text), VOCABULARY.presets, environment)


def test_a_preset_whose_variable_is_set_needs_no_entry() -> None:
    """An empty variable is not set, and a preset without a variable must stand in the file."""
    result = found("", {"GROQ_API_KEY": " gsk \n", "OPENAI_API_KEY": " "})
    assert {name: entry.api_key for name, entry in result.providers.items()} == {"groq": Secret("gsk")}
    assert result.variables == {"GROQ_API_KEY"}
    assert result.warnings == ()


def test_a_key_in_the_file_comes_before_the_variable() -> None:
    """One key or several; the variable counts only for an entry without any."""
    text = "providers: {groq: {api_key: a}, two: {preset: groq, api_keys: [b]}, openai: {location: local}}"
    result = found(text, {"GROQ_API_KEY": "c", "OPENAI_API_KEY": "d"})
    assert result.providers["groq"].api_key == Secret("a")
    assert (result.providers["two"].api_key, result.providers["two"].api_keys) == (None, [Secret("b")])
    assert (result.providers["openai"].api_key, result.providers["openai"].location) == (Secret("d"), "local")
    assert result.variables == {"OPENAI_API_KEY"}


def test_a_provider_that_is_switched_off_is_not_there() -> None:
    """Also where its variable is set."""
    assert found("providers: {groq: {enabled: false}}", {"GROQ_API_KEY": "a"}).providers == {}


def test_the_gaps_of_an_address_are_filled() -> None:
    """By the entry, else by the environment, else by the preset's default."""
    text = "providers: {cloud: {api_key: k, variables: {account: mine}}, two: {preset: cloud, api_key: k, variables: "
    text += "{account: two, region: us}}}"
    result = found(text, {"CLOUD_ACCOUNT": "env"})
    assert result.providers["cloud"].variables == {"account": "mine", "region": "eu"}
    assert result.providers["two"].variables == {"account": "two", "region": "us"}
    alone = found("", {"CLOUD_KEY": "k", "CLOUD_ACCOUNT": "env", "CLOUD_REGION": "asia"})
    assert alone.providers["cloud"].variables == {"account": "env", "region": "asia"}
    assert alone.variables == {"CLOUD_KEY", "CLOUD_ACCOUNT", "CLOUD_REGION"}


def test_half_a_provider_in_the_environment_is_told_and_left_out() -> None:
    """A key that happens to be set must not stop the start, and must not vanish without a word either."""
    result = found("", {"CLOUD_KEY": "k"})
    assert result.providers == {}
    assert result.warnings == (
        "CLOUD_KEY is set, but not all that its provider needs: cloud: its address needs `account` (your account); "
        "give it under `variables`, or set CLOUD_ACCOUNT.",
    )
    (warning,) = found("", {"CLOUD_KEY": "k", "CLOUD_ACCOUNT": "https://evil/"}).warnings
    assert warning.endswith("CLOUD_ACCOUNT must be a part of an address: letters, digits, and . _ -.")


def test_half_a_provider_is_not_told_where_an_entry_takes_its_key() -> None:
    """Two presets may have one usual variable; the file says which is meant, unless it has a key of its own."""
    sister = Row(key_env="CLOUD_KEY", needs_key=False, needs_entry=True)
    vocabulary = msgspec.structs.replace(VOCABULARY, presets={**VOCABULARY.presets, "sister": sister})

    def beside(entry: str) -> Accounts:
        read = config(f"providers: {{sister: {entry}}}", vocabulary=vocabulary)
        return accounts(read, vocabulary.presets, {"CLOUD_KEY": "k"})

    assert beside("{}").providers.keys() == {"sister"}
    assert beside("{}").providers["sister"].api_key == Secret("k")
    assert beside("{}").warnings == ()
    assert len(beside("{api_key: other}").warnings) == 1
    assert len(beside("{enabled: false}").warnings) == 1


def test_a_variable_that_serves_other_ends_switches_nothing_on() -> None:
    """Such a preset needs an entry, and then finds its key by itself."""
    result = found("", {"SHY_TOKEN": "k"})
    assert (result.providers, result.warnings) == ({}, ())
    assert found("providers: {shy: {}}", {"SHY_TOKEN": "k"}).providers["shy"].api_key == Secret("k")


def test_an_entry_with_a_codec_takes_nothing_from_a_preset() -> None:
    """Not even the key: it would go to another's address."""
    text = "providers: {groq: {codec: openai, base_url: 'http://box/v1'}}"
    assert found(text, {"GROQ_API_KEY": "secret"}).providers["groq"].api_key is None
