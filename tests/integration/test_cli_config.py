"""`pluggably config`: check, schema, show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import CommandLine

from pluggably.config.reference import config_schema

RIGHT = """\
providers:
  openai: {api_keys: [sekrit-1, sekrit-2]}
  box: {preset: ollama, location: local}
models:
  qwen: {weights: "file:qwen.gguf"}
  smart: openai/gpt-5
  chat: {targets: [qwen, {model: smart, weight: 2}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, "config")


def test_a_right_config_is_counted(config: CommandLine) -> None:
    """One line on standard output; warnings beside it. A provider of the environment counts."""
    path = config.folder / "pluggably.yaml"
    path.write_text(RIGHT)
    (config.folder / "qwen.gguf").write_bytes(b"weights")
    config.environment["GROQ_API_KEY"] = "sekrit-3"
    out, errors = config("check")
    assert out == f"{path} is valid: 3 providers, 1 model, 1 route, 1 alias.\n"
    assert errors == f"warning: {path}:7:49: models.chat.targets.1.weight: counts only with `choose: weight`.\n"
    assert not (config.folder / ".local").exists()


def test_weights_that_are_not_there_are_told(config: CommandLine) -> None:
    """As a warning: a start does not fail for them, and they may come later. A command may take a folder."""
    (config.folder / "folder").mkdir()
    (config.folder / "pluggably.yaml").write_text(
        'models: {a: {weights: "file:gone.gguf"}, b: {weights: "file:folder", runner: command, '
        'command: [serve, "{port}"]}, c: {weights: "file:' + 300 * "x" + '"}}\n'
    )
    out, errors = config("check")
    assert "is valid: 0 providers, 3 models" in out
    first, second = errors.splitlines()
    gone = config.folder / "gone.gguf"
    assert first == f"warning: models.a.weights: there is no file {gone}; as long as it is so, it cannot run."
    assert second.startswith("warning: models.c.weights: ") and "cannot be read (File name too long)" in second


def test_a_command_without_a_port_is_told_with_its_place(config: CommandLine) -> None:
    """As an error: it could never be reached."""
    path = config.folder / "pluggably.yaml"
    path.write_text("models:\n  a: {runner: command, command: [serve], ready: /, codec: openai}\n")
    errors = config("check", code=2)[1]
    assert errors.startswith(f"{path}:2:6: models.a.options: the command must say where the port goes: put `{{port}}`")


def test_a_secret_with_a_blank_line_is_told_with_its_place(config: CommandLine) -> None:
    """The line break that editors put at the end is none of the secret; another one is a mistake."""
    path = config.folder / "pluggably.yaml"
    path.write_text('providers: {openai: {api_key: "file:key"}}\n')
    (config.folder / "key").write_text("sk-1\n")
    (config.folder / "key").chmod(0o600)
    assert config("check")[1] == ""
    (config.folder / "key").write_text("sk-1\n\n")
    assert config("check", code=2)[1].startswith(f"{path}:1:31: providers.openai.api_key: has a line break")


def test_no_config_at_all_is_right(config: CommandLine) -> None:
    """The defaults count."""
    assert config("check") == ("There is no config file; the defaults apply: 0 providers, 0 models, 0 routes.\n", "")


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_wrong_config_is_told_as_at_a_start(config: CommandLine, command: str) -> None:
    """All errors at once, exit code 2, nothing on standard output."""
    path = config.folder / "other.yaml"
    path.write_text("server: {prot: 1}\nproviders: {groq: }\nmodels: {r: {targets: [x]}}\n")
    out, errors = config(command, "--config", "other.yaml", code=2)
    assert out == ""
    assert [line.removeprefix(str(path)).split(": ")[0] for line in errors.splitlines()] == [":1:10", ":2:18", ":3:24"]
    assert "There is no config file at" in config(command, "--config", "gone.yaml", code=2)[1]


def test_what_is_shown_is_right_and_holds_no_secret(config: CommandLine) -> None:
    """Printed into a file, it is a config that can be used."""
    (config.folder / "pluggably.yaml").write_text(RIGHT)
    config.environment |= {"GROQ_API_KEY": "sekrit-3", "PLUGGABLY_PORT": "99"}
    for arguments in ([], ["--all"]):
        out, errors = config("show", *arguments)
        assert ("sekrit" in out, errors) == (False, "")
        assert yaml.safe_load(out)["server"]["port"] == 99
        (config.folder / "shown.yaml").write_text(out)
        assert "is valid: 3 providers, 1 model, 1 route, 1 alias." in config("check", "--config", "shown.yaml")[0]
    assert "# From the environment: GROQ_API_KEY, PLUGGABLY_PORT\n" in out


def test_the_schema_is_printed(config: CommandLine) -> None:
    """For an editor, without a checkout of the sources."""
    assert json.loads(config("schema")[0]) == config_schema()
