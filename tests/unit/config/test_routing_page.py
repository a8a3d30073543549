"""The configs on the page about routing, docs/routing.md."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

from pluggably.config import References, Vocabulary, parse_config
from pluggably.domain.generation import Routing
from pluggably.plugins import CODECS, RUNNERS, Plugins
from pluggably.providers.presets import PRESETS

PAGE = Path(__file__).parents[3].joinpath("docs", "routing.md").read_text()
CONFIGS = [textwrap.dedent(one) for one in re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)]
KEYS = {"OPENAI_API_KEY": "sk-o", "GROQ_API_KEY": "gsk-g", "OPENAI_KEY_TEAM": "sk-a", "OPENAI_KEY_SPARE": "sk-b"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.split("\n")[1].strip())
def test_a_config_of_the_page_can_be_used(config: str) -> None:
    """It is read without a complaint, whoever copies it and has the keys that it names."""
    vocabulary = Vocabulary(presets=PRESETS, codecs=Plugins(CODECS), runners=Plugins(RUNNERS))
    loaded = parse_config(config.encode(), "routing.md", References(KEYS, Path("/etc/pluggably")), vocabulary)
    assert loaded.warnings == ()


def test_every_way_to_choose_has_an_example() -> None:
    """Order, weight, price, latency, both promises and both lists for the special cases."""
    read = [parse_config(one.encode(), "x", References(KEYS, Path("/"))).config for one in CONFIGS]
    routes = [route for config in read for route in config.routes().values()]
    assert {route.choose for route in routes} == {"order", "weight", "price", "latency"}
    assert any(route.location == "local" for route in routes)
    assert any(route.on_context_length and route.on_content_filter for route in routes)
    assert any(len(provider.api_keys) > 1 for config in read for provider in config.providers.values())
    assert any(config.retry.breaker_failures for config in read)


def test_the_request_of_the_page_has_every_field_of_routing() -> None:
    """And no other."""
    [body] = re.findall(r'^```json\n(\{\n  "model".*?)^```', PAGE, re.MULTILINE | re.DOTALL)
    assert set(json.loads(body)["routing"]) == set(Routing.__struct_fields__)
