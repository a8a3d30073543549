"""What an operator reads at the start: the key in the right place, and a line that works when it is pasted."""

from __future__ import annotations

import errno
import io
import json
import shlex
import stat
from pathlib import Path

import msgspec
import pytest

from pluggably.config import Config, Settings
from pluggably.welcome import announce

URL = "http://127.0.0.1:8080"
TOKEN = "plg_01_abc-DEF_9"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def settings(folder: Path, config: Config | None = None) -> Settings:
    return Settings(config=config or Config(), config_path=None, data_dir=folder, host="127.0.0.1", port=8080)


def told(folder: Path, token: str | None, stream: io.StringIO, config: Config | None = None) -> str:
    announce(settings(folder, config), URL, token, stream, "./pluggably")
    return stream.getvalue()


def pasted(text: str) -> list[str]:
    """The words of the curl line, as a shell would cut them."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith("curl")]
    return shlex.split(line)


def test_on_a_terminal_the_key_is_shown_once_and_kept_nowhere(tmp_path: Path) -> None:
    """The line to try holds the key, and asks the demo."""
    text = told(tmp_path, TOKEN, Terminal())
    assert f"\n  {TOKEN}\n" in text
    assert list(tmp_path.iterdir()) == []
    words = pasted(text)
    assert words[2] == f"{URL}/v1/generations"
    assert f"Authorization: Bearer {TOKEN}" in words
    assert json.loads(words[-1]) == {"model": "demo", "input": "Why is the sky blue?"}


def test_elsewhere_the_key_goes_into_a_private_file(tmp_path: Path) -> None:
    """A log never holds a key; the line to try reads the file, whose path may have spaces."""
    folder = tmp_path / "with space"
    folder.mkdir()
    text = told(folder, TOKEN, io.StringIO())
    path = folder / "admin-key"
    assert TOKEN not in text
    assert str(path) in text
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (TOKEN + "\n", 0o600)
    assert f"$(cat {shlex.quote(str(path))})" in text


def test_a_key_that_cannot_be_shown_is_kept(tmp_path: Path) -> None:
    """Where the terminal takes nothing, the key goes into its private file."""

    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        told(tmp_path, TOKEN, Gone())
    assert (tmp_path / "admin-key").read_text() == TOKEN + "\n"


def test_a_later_start_says_where_the_key_was_put(tmp_path: Path) -> None:
    """As long as the file is there, the line to try works."""
    told(tmp_path, TOKEN, io.StringIO())
    again = told(tmp_path, None, Terminal())
    assert TOKEN not in again
    assert f"$(cat {tmp_path}/admin-key)" in again


def test_a_later_start_without_that_file_needs_no_key(tmp_path: Path) -> None:
    """Then the line to try is one of our own command, which needs none."""
    text = told(tmp_path, None, Terminal())
    assert f'  ./pluggably run --data-dir {tmp_path} demo "Why is the sky blue?"' in text
    assert f"`./pluggably keys create --data-dir {tmp_path}`" in text
    assert "Bearer" not in text


@pytest.mark.parametrize(
    ("models", "expected"),
    [({"team/one:v1": "openai/x", "two": "openai/y"}, '"model":"team/one:v1"'), ({}, "There is no model yet")],
)
def test_without_the_demo_another_model_is_tried(tmp_path: Path, models: dict[str, str], expected: str) -> None:
    """The line to try names a model that is there, or there is no line."""
    config = msgspec.structs.replace(Config(), demo=False, models=models)
    assert expected in told(tmp_path, TOKEN, Terminal(), config)
