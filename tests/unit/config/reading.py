"""Reads configs for tests, with plug-ins and presets of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from pluggably.config import Config, ConfigError, LoadedConfig, References, Vocabulary, parse_config

FOLDER = Path("/etc/pluggably")
ENVIRONMENT = {"KEY": "sk-123", "PORT": "9000", "HOME": "/home/pip", "NO": "no", "READY_KEY": "r", "SHY_TOKEN": "s"}


class CodecOptions(msgspec.Struct, forbid_unknown_fields=True):
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stop_limit: int | None = None
    rules: list[dict[str, Any]] = []


class LlamaOptions(msgspec.Struct, forbid_unknown_fields=True):
    threads: int | None = None
    mode: str = "fast"


class CommandOptions(msgspec.Struct, forbid_unknown_fields=True):
    command: list[str]
    ready: str = "/health"
    codec: str = "openai"
    env: dict[str, str] = {}
    slow: set[str] = set()


class Codec:
    Options = CodecOptions


class Llama:
    Options = LlamaOptions


class Command:
    Options = CommandOptions


class Gap(msgspec.Struct, frozen=True):
    means: str
    env: str | None = None
    default: str | None = None


class Listed(msgspec.Struct, frozen=True):
    path: str

    def all(self) -> tuple[Listed, ...]:
        return (self,)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    codec: str = "openai"
    base_url: str = "https://api.example.com/v1"
    key_env: str | None = None
    needs_key: bool = True
    needs_entry: bool = False
    signing: str | None = None
    query: dict[str, str] = {}
    models: Listed | None = None
    variables: dict[str, Gap] = {}


VOCABULARY = Vocabulary(
    presets={
        "openai": Row(key_env="OPENAI_API_KEY", needs_key=False),
        "ollama": Row(needs_key=False),
        "ready": Row(key_env="READY_KEY"),
        "groq": Row(key_env="GROQ_API_KEY"),
        "signed": Row(needs_key=False, signing="aws"),
        "shy": Row(key_env="SHY_TOKEN", needs_key=False, needs_entry=True),
        "dated": Row(
            base_url="https://{account}.example.com",
            needs_key=False,
            query={"version": "{version}"},
            models=Listed("https://example.com/{folder}/models"),
            variables={"account": Gap("your account"), "version": Gap("a date"), "folder": Gap("where")},
        ),
        "cloud": Row(
            base_url="https://{account}.{region}.example.com/{model}",
            key_env="CLOUD_KEY",
            variables={"account": Gap("your account", "CLOUD_ACCOUNT"), "region": Gap("where", "CLOUD_REGION", "eu")},
        ),
    },
    codecs={"openai": Codec},
    runners={"llama.cpp": Llama, "command": Command},
)


def load(text: str | bytes, *, vocabulary: Vocabulary | None = VOCABULARY) -> LoadedConfig:
    content = text if isinstance(text, bytes) else text.encode()
    return parse_config(content, "p.yaml", References(ENVIRONMENT, FOLDER), vocabulary)


def config(text: str, *, vocabulary: Vocabulary | None = VOCABULARY) -> Config:
    return load(text, vocabulary=vocabulary).config


def warnings(text: str) -> list[str]:
    """What the operator of a good file still hears, as `line:column: message`."""
    return [warning.removeprefix("p.yaml:") for warning in load(text).warnings]


def issues(text: str | bytes, *, vocabulary: Vocabulary | None = VOCABULARY) -> list[str]:
    """What is wrong with a file, as `line:column: message`."""
    with pytest.raises(ConfigError) as caught:
        load(text, vocabulary=vocabulary)
    lines = caught.value.detail.split("\n")
    assert all(line.startswith("p.yaml:") for line in lines)
    return [line.removeprefix("p.yaml:") for line in lines]


def issue(text: str | bytes, *, vocabulary: Vocabulary | None = VOCABULARY) -> str:
    """The one thing that is wrong with a file."""
    (only,) = issues(text, vocabulary=vocabulary)
    return only
