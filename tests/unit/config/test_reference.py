"""The example, the JSON Schema and the reference pages say what the code does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from pluggably.config import ConfigError, References, Vocabulary, parse_config
from pluggably.config.reference import config_schema
from pluggably.config.schema import (
    Config,
    KnownCapabilities,
    KnownPrice,
    Log,
    ModelEntry,
    ModelFacts,
    Provider,
    Retry,
    RouteTarget,
    Server,
    TimeoutLimits,
)
from pluggably.plugins import CODECS, RUNNERS, Plugins
from pluggably.providers.presets import PRESETS

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "pluggably.example.yaml").read_text("utf-8")
# A line that starts with `#` and no single space is YAML that is switched off.
EVERYTHING = re.sub(r"(?m)^#(?=\S|  )", "", EXAMPLE)
ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-1",
    "GROQ_API_KEY": "gsk-1",
    "AZURE_OPENAI_API_KEY": "az-1",
    "AWS_ID": "a",
    "AWS_SECRET": "s",
    "AWS_TOKEN": "t",
}


def read(text: str, folder: Path) -> Config:
    vocabulary = Vocabulary(presets=PRESETS, codecs=Plugins(CODECS), runners=Plugins(RUNNERS))
    loaded = parse_config(text.encode(), "example", References(ENVIRONMENT, folder), vocabulary)
    assert loaded.warnings == ()
    return loaded.config


def validator() -> jsonschema.Draft202012Validator:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_example_as_it_stands_is_the_default(tmp_path: Path) -> None:
    """Who copies the example and changes nothing has changed nothing."""
    assert read(EXAMPLE, tmp_path) == Config()


def test_the_example_with_everything_switched_on_is_right(tmp_path: Path) -> None:
    """Every line of it may be copied: the presets, codecs and runners that are installed have no objection."""
    for name in ("mine", "groq", "google"):
        (tmp_path / name).write_text("sk-2\n")
        (tmp_path / name).chmod(0o600)
    config = read(EVERYTHING.replace("file:/run/secrets/", "file:"), tmp_path)
    assert set(config.providers) == {
        "openai",
        "groq",
        "azure",
        "bedrock",
        "vertex-openai",
        "box",
        "mine",
        "openrouter",
    }
    assert config.aliases() == {"smart": "openai/gpt-5"}
    assert [model.id for model in config.local_models()] == ["qwen", "vllm"]
    assert list(config.routes()) == ["chat", "split", "private"]
    assert len(config.providers["groq"].api_keys) == 2
    assert config.providers["mine"].models["llama-3.3-70b"].price == KnownPrice(
        input_per_million="0.15", cached_input_per_million="0.03", output_per_million="0.60"
    )


STRUCTS: list[type[msgspec.Struct]] = [
    Config,
    Server,
    TimeoutLimits,
    Retry,
    Log,
    Provider,
    ModelFacts,
    KnownPrice,
    KnownCapabilities,
    ModelEntry,
    RouteTarget,
]


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_key_stands_in_the_example(struct: type[msgspec.Struct]) -> None:
    """What is not in the example does not exist for its readers."""
    missing = [name for name in struct.__struct_fields__ if not re.search(rf"(?m)(^ *|[{{ ]){name}:", EVERYTHING)]
    assert missing == []


@pytest.mark.parametrize("text", [EXAMPLE, EVERYTHING], ids=["as it stands", "everything"])
def test_the_schema_accepts_the_example(text: str) -> None:
    """An editor shows no error where there is none."""
    assert [error.message for error in validator().iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "server: {port: '${PORT}', max_body_bytes: 1KiB, open_metrics: '${OPEN}'}",
        "server: {max_body_bytes: 4096}",
        "providers: {openai: }\nserver:\n",
        "providers: {mine: {codec: openai, base_url: '${URL}', location: '${PLACE}'}}",
        "models: {a/b:c: openai/x, m: {weights: 'file:x'}}",
        "models: {r: {targets: [openai/x, {model: openai/y, weight: 2}], choose: weight}}",
        "models: {r: {targets: [demo], weights: , keep_alive_s: ~}, m: {weights: 'file:x', targets: , location: }}",
        "models: {r: {targets: [demo], location: local, choose: '${CHOICE}', on_context_length: [demo]}}",
        "providers: {x: {models: {m: {price: {input_per_million: 0.1, output_per_million: '0.2'}, free: }}}}",
        "providers: {x: {models: {m: {price: {input_per_million: '${PORT}'}}}}}",
        "providers: {x: {api_keys: ['${PORT}', b], variables: {resource: '${PLACE}'}}}",
    ],
)
def test_the_schema_accepts_what_the_loader_accepts(text: str) -> None:
    """References, sizes with a unit and empty sections are no errors for an editor either."""
    environment = {"PORT": "1", "OPEN": "no", "URL": "http://x", "PLACE": "local", "CHOICE": "price"}
    parse_config(text.encode(), "p.yaml", References(environment, Path("/")))
    assert [error.message for error in validator().iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "sever: {}",
        "server: {port: 70000}",
        "server: {port: http}",
        "server: {max_body_bytes: much}",
        "log: {level: loud}",
        "providers: {a b: {}}",
        "providers: {x: {base_url: 'ftp://x'}}",
        "models: {m: {weights: x.gguf}}",
        "models: {m: {threads: 1}}",
        "models: {m: {targets: []}}",
        "models: {m: {targets: [demo], slots: 2}}",
        "models: {m: {weights: 'file:x', choose: price}}",
        "models: {m: {targets: [{weight: 2}]}}",
        "models: {m: {targets: [x], location: remote}}",
        "providers: {x: {models: {m: {price: {input_per_million: -1}}}}}",
        "providers: {x: {models: {m: {price: {input_per_million: cheap}}}}}",
        "providers: {x: {models: {m: {prize: 1}}}}",
        "providers: {x: {variables: {resource: a/b}}}",
        "retry: {attempts: 0}",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(text: str) -> None:
    """An editor tells of a mistake before the gateway does."""
    with pytest.raises(ConfigError):
        parse_config(text.encode(), "p.yaml", References({}, Path("/")))
    assert not validator().is_valid(yaml.safe_load(text))


def test_every_key_is_described() -> None:
    """A key without a description is a hole in the reference page."""

    def holes(schema: Any) -> list[str]:
        return [
            f"{title}.{name}"
            for title, section in schema["$defs"].items()
            for name, key in section["properties"].items()
            if not key.get("description")
        ]

    schema = config_schema()
    assert holes(schema) == []
    assert all(section["additionalProperties"] is False for section in schema["$defs"].values())


def test_the_committed_pages_are_current() -> None:
    """`python scripts/reference.py` was run after the last change."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    json.loads((ROOT / "docs" / "reference" / "pluggably.schema.json").read_text("utf-8"))
