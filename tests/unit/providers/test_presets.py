"""Presets are rows that their codec understands, and providers are addresses that cost nothing."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import msgspec
import pytest

from pluggably import plugins
from pluggably.domain.catalog import Target
from pluggably.providers.build import build_provider
from pluggably.providers.presets import PRESETS, Preset
from pluggably.providers.presets.clouds import CLOUDS
from pluggably.providers.presets.google import GOOGLE
from pluggably.providers.presets.hosts import HOSTS
from pluggably.providers.presets.makers import MAKERS
from pluggably.providers.presets.openai import OPENAI
from pluggably.providers.presets.routers import ROUTERS
from pluggably.providers.presets.servers import SERVERS
from pluggably.providers.provider import Provider
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.endpoint import Endpoint

CODECS = plugins.Plugins(plugins.CODECS)


def endpoint_of(provider: Provider, model: str = "m") -> Endpoint:
    return provider.endpoint(Target(backend=provider.name, model=model, location="remote"))


def provider_of(name: str, **overrides: Any) -> Provider:
    preset = PRESETS[name]
    given = {"options": preset.options, "always_streams": preset.always_streams, "base_url": preset.base_url}
    return Provider(**{"name": name, "codec": OpenAICodec, **given, **overrides})


def test_every_preset_stands_in_one_file_in_the_order_of_the_alphabet() -> None:
    """A second row of the same name would silently replace the first."""
    rows = [list(file) for file in (CLOUDS, GOOGLE, HOSTS, MAKERS, OPENAI, ROUTERS, SERVERS)]
    assert rows == [sorted(names) for names in rows]
    assert sorted(PRESETS) == sorted(name for names in rows for name in names)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_is_understood_by_its_codec(preset: Preset) -> None:
    """Its options are those that the codec has, and its model rules are regular expressions."""
    options = msgspec.convert(msgspec.to_builtins(preset.options), CODECS[preset.codec].Options)
    for rule in getattr(options, "model_rules", ()):
        re.compile(rule.models)
    assert not preset.base_url.endswith("/")
    assert preset.docs.startswith("https://")
    assert not preset.needs_key or preset.key_env is not None
    assert date.fromisoformat(preset.checked) >= date(2026, 11, 1)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_can_be_a_provider(preset: Preset) -> None:
    """With nothing but its key and what fills its gaps: its codecs are there, and take the options of its rules."""
    variables = {gap: variable.default or "x" for gap, variable in preset.variables.items()}
    keys = ["sk-test"] if preset.needs_key else []
    endpoint = endpoint_of(build_provider("any", preset, CODECS, api_keys=keys, variables=variables))
    assert "{" not in endpoint.base_url + endpoint.query
    assert endpoint.base_url.startswith("https://") or not preset.needs_key


@pytest.mark.parametrize(
    ("model", "codec"),
    [
        ("gpt-5.2", "openai"),
        ("gpt-5-mini", "openai"),
        ("gpt-5.3-chat-latest", "openai"),
        ("o3", "openai"),
        ("o3-mini", "openai"),
        ("text-embedding-3-small", "openai"),
        ("gpt-5.4-chat-latest", "openai"),
        ("gpt-6.1-chat-latest", "openai"),
        ("gpt-audio-mini", "openai"),
        ("gpt-5-search-api", "openai"),
        # Chat Completions has these, but not with tools while they reason.
        ("gpt-5.4", "openai_responses"),
        ("gpt-5.4-mini-2026-03-17", "openai_responses"),
        ("gpt-5.6-terra", "openai_responses"),
        ("gpt-6-astra", "openai_responses"),
        ("ft:gpt-5.4-mini:acme::1", "openai_responses"),
        ("o1-pro", "openai_responses"),
        ("o3-pro-2025-06-10", "openai_responses"),
        ("o4-mini-deep-research-2025-06-26", "openai_responses"),
        ("computer-use-preview", "openai_responses"),
        ("gpt-5-codex", "openai_responses"),
        ("gpt-5.1-codex-max", "openai_responses"),
        ("gpt-5.5-pro-2026-04-23", "openai_responses"),
        ("gpt-6-cyber", "openai_responses"),
        ("gpt-6.2-astra-law", "openai_responses"),
        ("gpt-rosalind-research", "openai_responses"),
        ("codex-mini-latest", "openai_responses"),
    ],
)
def test_a_model_that_needs_the_responses_api_is_asked_there(model: str, codec: str) -> None:
    """At OpenAI, and at Azure where the deployment bears the model's name."""
    for name in ("openai", "azure"):
        provider = build_provider(name, PRESETS[name], CODECS, api_keys=["sk"], variables={"resource": "r"})
        assert endpoint_of(provider, model).codec is CODECS[codec]


def test_those_that_notice_a_lost_client_only_while_streaming_always_stream() -> None:
    """Else they compute to the end for nobody. And so do Qwen, some of whose models answer in no other way, and
    Anthropic, whose long answers would lose their connection, and another gateway, which tells of its progress in no
    other way."""
    streaming = {name for name, preset in PRESETS.items() if preset.always_streams}
    assert streaming == {"anthropic", "anthropic-aws", "ollama", "llama-server", "pluggably", "qwen"}


def test_a_lease_yields_a_prebuilt_endpoint() -> None:
    """The same object for the same model, with the credential in its headers."""
    provider = provider_of("openai", api_keys=["sk-test"], headers={"OpenAI-Organization": "acme"})
    endpoint = endpoint_of(provider, "gpt-4o")
    assert endpoint is endpoint_of(provider, "gpt-4o")
    assert (endpoint.backend, endpoint.model, endpoint.location) == ("openai", "gpt-4o", "remote")
    assert endpoint.base_url == "https://api.openai.com/v1"
    assert endpoint.headers == {"Authorization": "Bearer sk-test", "OpenAI-Organization": "acme"}
    assert isinstance(endpoint.options, OpenAIOptions)


def test_a_provider_without_a_key_sends_none() -> None:
    """And an operator's word on its location, and a slash too many, are taken."""
    endpoint = endpoint_of(provider_of("ollama", location="local", base_url="http://box:11434/v1/"))
    assert dict(endpoint.headers) == {}
    assert (endpoint.location, endpoint.base_url, endpoint.always_streams) == ("local", "http://box:11434/v1", True)


def test_clients_cannot_fill_the_memory_with_model_names() -> None:
    """They may ask for any name; endpoints are kept for some of them only."""
    provider = provider_of("groq")
    for number in range(3000):
        assert endpoint_of(provider, f"m{number}").model == f"m{number}"
    assert len(provider._endpoints) <= 1024


def test_a_provider_does_not_show_its_key() -> None:
    """Not in a log, nor in a traceback's locals."""
    assert "sk-test" not in repr(provider_of("openai", api_keys=["sk-test"]))


def test_options_that_a_codec_does_not_have_are_refused() -> None:
    """A typing mistake in a config must not pass for a quirk."""
    with pytest.raises(msgspec.ValidationError, match="max_token_field"):
        provider_of("openai", options={"max_token_field": "max_tokens"})
