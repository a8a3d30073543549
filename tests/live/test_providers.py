"""Each provider that there is a key for really answers: whole, streamed, with a tool call, and to a wrong key.

`make live` runs these, and nothing else does: they cost money and need the network. They ask through the provider, its
codec and the transport, as the gateway does. What is asked for is the model that stands in the provider's page, and who
is asked is every preset whose variables are set; `PLUGGABLY_LIVE=groq,ollama` asks these only, keys or not,
`PLUGGABLY_LIVE_MODEL_GROQ` another model, and `PLUGGABLY_LIVE_URL_OLLAMA` another address.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from pluggably.domain.catalog import Target
from pluggably.domain.generation import Fold, Text, ToolCall
from pluggably.errors import BackendAuthenticationFailed
from pluggably.net.http import HttpClient, Patience
from pluggably.plugins import CODECS, Plugins
from pluggably.providers.build import build_provider
from pluggably.providers.presets import PRESETS
from pluggably.providers.provider import Provider
from pluggably.testing.codecs import generation_request
from pluggably.wire.transport import FixedBackend

PAGES = Path(__file__).parents[2] / "docs" / "providers"
PATIENCE = Patience(120, 120, 300)
# A reasoning model needs some before it says its first word.
PARAMETERS = {"max_output_tokens": 2000}
TOOL = {
    "name": "look_up_river",
    "description": "The length of a river in km.",
    "input_schema": {"type": "object", "properties": {"river": {"type": "string"}}, "required": ["river"]},
}
NO_TOOLS = {"perplexity": "its own model, Sonar, is there to search"}


def setting(what: str, name: str) -> str | None:
    return os.environ.get(f"PLUGGABLY_LIVE_{what}_{name.upper().replace('-', '_')}")


def provider_of(name: str, key: str | None = None) -> Provider:
    """The provider as the environment has it, or the end of the test with the reason."""
    preset, chosen = PRESETS[name], os.environ.get("PLUGGABLY_LIVE")
    if chosen is not None and name not in chosen.split(","):
        pytest.skip("PLUGGABLY_LIVE does not name it")
    given = os.environ.get(preset.key_env or "") or key
    if preset.needs_key and not given:
        pytest.skip(f"{preset.key_env} is not set")
    if not preset.needs_key and chosen is None:
        pytest.skip(f"it needs no key, so it is asked only where PLUGGABLY_LIVE={name} says so")
    variables = {gap: os.environ.get(one.env or "", "") for gap, one in preset.variables.items()}
    if missing := [gap for gap, one in preset.variables.items() if one.default is None and not variables[gap]]:
        pytest.skip(f"nothing says its {', '.join(missing)}")
    keys = [key or given or ""] if key or given else []
    codecs = Plugins(CODECS)
    return build_provider(name, preset, codecs, base_url=setting("URL", name), api_keys=keys, variables=variables)


def model_of(name: str) -> str:
    """The model in the request of the provider's page."""
    shown = re.search(rf'"model": "{name}/([^"]+)"', (PAGES / f"{name}.md").read_text("utf-8"))
    assert shown is not None
    return setting("MODEL", name) or shown[1]


def asked(provider: Provider, **request: Any) -> Fold:
    """The answer to one request."""

    async def ask() -> Fold:
        client, fold = HttpClient(), Fold()
        target = Target(backend=provider.name, model=model_of(provider.name), location="remote")
        body = generation_request({"parameters": PARAMETERS, **request})
        try:
            async with aclosing(FixedBackend(provider, client).generate(body, target, PATIENCE)) as events:
                async for batch in events:
                    fold.add(batch)
        finally:
            await client.close()
        return fold

    return asyncio.run(ask())


def text_of(fold: Fold) -> str:
    return "".join(item.text for item in fold.output() if isinstance(item, Text))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", PRESETS)
def test_it_answers(name: str, stream: bool) -> None:
    """With text, an end and a count of tokens."""
    fold = asked(provider_of(name), input="Name one river in Asia. Answer with its name alone.", stream=stream)
    assert text_of(fold).strip()
    assert fold.finish_reason == "stop"
    assert fold.usage.input_tokens
    assert fold.usage.output_tokens


@pytest.mark.parametrize("name", PRESETS)
def test_it_calls_a_tool(name: str) -> None:
    """With arguments that are JSON of the tool's form."""
    if name in NO_TOOLS:
        pytest.skip(NO_TOOLS[name])
    fold = asked(provider_of(name), input="How long is the Ob? Look it up.", tools=[TOOL], stream=True)
    calls = [item for item in fold.output() if isinstance(item, ToolCall)]
    assert [call.name for call in calls][:1] == ["look_up_river"]
    assert isinstance(json.loads(calls[0].arguments)["river"], str)
    assert fold.finish_reason == "tool_calls"


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.needs_key])
def test_a_wrong_key_is_blamed_on_the_operator(name: str) -> None:
    """Whatever status the vendor has for it."""
    provider_of(name)
    with pytest.raises(BackendAuthenticationFailed):
        asked(provider_of(name, key="wrong-key-00000000000000000000000000000000"), input="Hi")
