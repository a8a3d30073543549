"""What `pluggably config show` prints: it means the same, and shows no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from reading import VOCABULARY

from pluggably.config import Config, Flags, References, Secret, Settings, load_settings, parse_config
from pluggably.config.shown import shown

ENVIRONMENT = {
    "HOME": "/home/pip",
    "TOKEN": "sekrit-token",
    "THREADS": "4",
    "PLACE": "local",
    "GROQ_API_KEY": "sekrit-groq",
    "CLOUD_ACCOUNT": "mine",
}

EVERYTHING = """
server: {host: 0.0.0.0, max_body_bytes: 1MiB}
providers:
  openai: {api_keys: [sekrit-1, "file:key"], headers: {X-Key: "sekrit-${TOKEN}", X-Team: sekrit-2}}
  box:
    preset: openai
    options:
      rules:
        - {quoted: "${THREADS}", both: "${THREADS}${TOKEN}"}
        - bare: ${THREADS}
  cloud: {api_key: sekrit-3, base_url: "https://{account}.x/v1", options: {stop_limit: 4}, location: "${PLACE}"}
  ollama: {enabled: false, models: {llama: {price: {input_per_million: 0.10}, capabilities: {tools: true}}}}
models:
  qwen: {weights: "file:qwen.gguf", options: {threads: "${THREADS}", mode: "no"}, keep_alive_s: 0.5}
  serve:
    runner: command
    command: [serve, --token, "${TOKEN}", "--port={port}", "$${HOME}"]
    options: {env: {TOKEN: "a ${TOKEN}", N: "1e3", YES: "on", EMPTY: "", LINES: "a\\nb"}}
  smart: openai/gpt-5
  chat: {targets: [qwen, {model: openai/gpt-5, weight: 2}], choose: weight, on_context_length: [smart]}
  near: {targets: [qwen], location: local}
model_folders: [~/models, "/$${x}"]
demo: false
"""


def settings(text: str, folder: Path, flags: Flags | None = None) -> Settings:
    (folder / "key").write_text("sekrit-4")
    (folder / "key").chmod(0o600)
    (folder / "pluggably.yaml").write_text(text)
    return load_settings(flags, vocabulary=VOCABULARY, environment=ENVIRONMENT, folder=folder)


def bare(config: Config) -> Any:
    """A config as plain values, without its secrets."""
    return msgspec.to_builtins(config, enc_hook=lambda value: "secret" if isinstance(value, Secret) else str(value))


@pytest.mark.parametrize("everything", [False, True])
def test_what_is_shown_means_the_same(everything: bool, tmp_path: Path) -> None:
    """It loads again to the same config, and shown once more it is the same text."""
    first = settings(EVERYTHING, tmp_path)
    text = shown(first, everything=everything)
    again = settings(text, tmp_path)
    rules = [{"quoted": "4", "both": "4sekrit-token"}, {"bare": 4}]
    assert again.config.providers["box"].options == {"rules": rules}
    assert shown(again, everything=everything).split("\n")[3:] == text.split("\n")[3:]
    expected = bare(first.config)
    expected["providers"]["groq"] = bare(Config(providers={"groq": first.providers["groq"]}))["providers"]["groq"]
    expected["providers"]["cloud"]["variables"] = {"account": "mine", "region": "eu"}
    assert bare(again.config) == expected


@pytest.mark.parametrize("everything", [False, True])
def test_no_secret_is_shown(everything: bool, tmp_path: Path) -> None:
    """Keys, headers, and what came from the environment into options and commands."""
    text = shown(settings(EVERYTHING, tmp_path), everything=everything)
    assert "sekrit" not in text
    plain = yaml.safe_load(text)
    assert plain["providers"]["openai"]["api_keys"] == ["***", "***"]
    assert plain["providers"]["openai"]["headers"] == {"X-Key": "***", "X-Team": "***"}
    assert plain["providers"]["groq"]["api_key"] == "***"
    assert plain["models"]["serve"]["command"] == ["serve", "--token", "${TOKEN}", "--port={port}", "$${HOME}"]
    assert plain["models"]["serve"]["options"]["env"]["TOKEN"] == "a ${TOKEN}"


def test_defaults_are_left_out_unless_they_are_wanted(tmp_path: Path) -> None:
    """Little to show, where little was changed; with everything, all keys of an entry but those of the other kind."""
    little = yaml.safe_load(shown(settings("providers: {openai: {location: remote}}", tmp_path)))
    assert little == {
        "version": 1,
        "providers": {"openai": {"location": "remote"}, "groq": {"api_key": "***"}},
    }
    everything = yaml.safe_load(shown(settings(EVERYTHING, tmp_path), everything=True))
    assert list(everything) == list(Config.__struct_fields__)
    assert everything["retry"] == {"attempts": 2, "max_wait_s": 60, "breaker_failures": 5, "breaker_rest_s": 10}
    assert "targets" not in everything["models"]["qwen"] and "slots" in everything["models"]["qwen"]
    assert "choose" in everything["models"]["near"] and "slots" not in everything["models"]["near"]


def test_what_comes_before_the_file_is_in_it(tmp_path: Path) -> None:
    """A flag for the port; where the config came from, and which variables counted, by name."""
    text = shown(settings(EVERYTHING, tmp_path, Flags(port=99, data_dir=Path("/da\nta"))))
    assert yaml.safe_load(text)["server"] == {"host": "0.0.0.0", "port": 99, "max_body_bytes": 1024 * 1024}
    assert text.split("\n")[:3] == [
        f"# Config file: {tmp_path}/pluggably.yaml",
        "# Data directory: /da�ta",
        "# From the environment: CLOUD_ACCOUNT, GROQ_API_KEY, PLACE, THREADS, TOKEN",
    ]


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cn", "Cs"]), max_size=20)
LOOKALIKES = st.sampled_from(
    ["1e3", "no", "true", "~", "1.10", "0x1", "1:30", "${A}", "$${A}", "- a", "a: b", "#", "="]
)
PLAIN = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(1e-9, 1e9) | TEXT | LOOKALIKES


@given(st.dictionaries(TEXT | LOOKALIKES, st.recursive(PLAIN, st.lists, max_leaves=5)))
def test_any_options_come_through(options: dict[str, Any]) -> None:
    """Text that looks like a number, a boolean or a reference stays text; numbers stay numbers."""
    content = {"models": {"m": {"command": ["x"], "options": options}}}
    escaped = msgspec.json.encode(content).replace(b"${", b"$${")
    config = parse_config(escaped, "p.yaml", References({}, Path("/"))).config
    given_settings = Settings(config=config, config_path=None, data_dir=Path("/d"), host="127.0.0.1", port=8080)
    again = parse_config(shown(given_settings).encode(), "p.yaml", References({}, Path("/"))).config
    assert again == config
