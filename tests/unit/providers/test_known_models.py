"""What is documented of vendors' models whose lists say nothing."""

from __future__ import annotations

import pytest

from pluggably.domain.catalog import Capabilities
from pluggably.providers.known_models import known

ALL = Capabilities(tools=True, json_schema=True, reasoning=True)
PLAIN = Capabilities(tools=True, json_schema=True, reasoning=False)


@pytest.mark.parametrize(
    ("model", "capabilities"),
    [
        ("gpt-5", ALL), ("gpt-5-mini", ALL), ("gpt-5.4-nano", ALL), ("gpt-5-2025-08-07", ALL),
        ("o3", ALL), ("o4-mini-2025-04-16", ALL), ("o3-mini", ALL),
        ("gpt-4.1", PLAIN), ("gpt-4o", PLAIN), ("gpt-4o-mini-2024-07-18", PLAIN),
        ("gpt-4o-2024-05-13", Capabilities(tools=True, reasoning=False)),
    ],
)  # fmt: skip
def test_openais_models(model: str, capabilities: Capabilities) -> None:
    """The rule of the family counts for its dated versions too; structured outputs came after the first GPT-4o."""
    found = known("openai", model)
    assert found is not None
    assert found.capabilities == capabilities
    assert found.output_modalities == ("text",)


@pytest.mark.parametrize(
    "model",
    ["gpt-5-chat-latest", "gpt-5-codex", "gpt-4o-audio-preview", "gpt-4o-search-preview", "gpt-4", "ft:gpt-4o:me", ""],
)
def test_a_model_that_no_rule_names_stays_unknown(model: str) -> None:
    """A name that only begins like a known one is another model."""
    assert known("openai", model) is None


def test_what_a_model_makes() -> None:
    """Embeddings are told from text, and from what cannot be asked for at all."""
    assert (found := known("openai", "text-embedding-3-small")) is not None
    assert found.output_modalities == ("embedding",)
    assert (found := known("mistral", "mistral-embed")) is not None
    assert found.output_modalities == ("embedding",)
    assert (found := known("openai", "whisper-1")) is not None
    assert found.output_modalities == ()


def test_a_rule_is_of_one_vendor() -> None:
    """The same id at a vendor of whom nothing is documented says nothing."""
    assert known("groq", "gpt-5") is None
    assert known(None, "gpt-5") is None
    assert known("anthropic", "claude-opus-4-6") is not None
    assert known("google", "gemini-2.5-flash") is not None
    assert known("google", "gemini-2.5-flash-preview-tts") is None


@pytest.mark.parametrize(
    ("model", "makes"),
    [
        ("gemini-2.5-flash", ("text",)),
        ("claude-haiku-4-5@20251001", ("text",)),
        ("text-embedding-005", ("embedding",)),
        ("text-multilingual-embedding-002", ("embedding",)),
        ("gemini-embedding-2", ("embedding",)),
        ("imagen-4.0-generate-001", ()),
        ("veo-3.0-generate-001", ()),
    ],
)
def test_what_is_made_at_vertex_ai(model: str, makes: tuple[str, ...]) -> None:
    """Whose lists tell ids alone."""
    assert (found := known("vertex", model)) is not None
    assert found.output_modalities == makes
