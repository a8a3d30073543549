"""The command lines that the pages for people show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluggably.cli import command_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "providers").glob("*.md"))]
# In a line of a terminal, or between backquotes; up to where the shell would begin something else.
SHOWN = re.compile(r"(?:`|[$#] |\(|[\w/.]/)pluggably ([a-z][^`\n|;)#]*)")


def shown() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in SHOWN.findall(page.read_text()):
            yield page.name, line


def test_the_pages_show_command_lines() -> None:
    """They are found, or the test below would be of nothing."""
    found = {line.split()[0] for _, line in shown()}
    assert found >= {"serve", "run", "models", "explain", "keys", "config", "health"}


@pytest.mark.parametrize(("page", "line"), sorted(set(shown())))
def test_a_command_line_of_a_page_is_understood(page: str, line: str) -> None:
    """Every command and option that a page shows is one of the command's own."""
    given = shlex.split(line)
    if given in (["config"], ["keys"]):  # the name of the group
        return
    command_parser().parse_args(given)
