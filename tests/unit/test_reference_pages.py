"""The reference pages of the API in docs/reference are what the code makes, and hang together."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from pluggably.telemetry.logs import FIELDS

ROOT = Path(__file__).parents[2]
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "reference_api.py"), run_name="reference_api")
PAGES: dict[Path, str] = SCRIPT["pages"]()
TEXTS = {path.name: text for path, text in PAGES.items()}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_are_current(path: Path) -> None:
    """`python scripts/reference.py` was run after the last change of the code."""
    assert path.is_file() and path.read_text("utf-8") == PAGES[path], f"{path.name}: run scripts/reference.py"


def anchors(page: str) -> list[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("name", ["api.md", "errors.md", "metrics.md", "logs.md"])
def test_links_lead_somewhere(name: str) -> None:
    """A link within the reference names a page and a heading that are there, and no heading is there twice."""
    own = anchors(TEXTS[name])
    assert len(set(own)) == len(own)
    for page, anchor in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", TEXTS[name]):
        assert anchor in anchors(TEXTS[page or name]), f"{name}: {page}#{anchor}"


def test_tables_have_even_rows() -> None:
    """A bar within a cell would shift the cells behind it."""
    for name in ("api.md", "errors.md", "metrics.md", "logs.md"):
        width = 0
        for line in TEXTS[name].splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert cells == 0 or width in (0, cells), f"{name}: {line}"
            width = cells


def test_the_pages_tell_everything() -> None:
    """Every operation, event and type; every error, metric and log field."""
    document = json.loads(TEXTS["openapi.json"])
    for path, item in document["paths"].items():
        for method in item:
            assert f"{method.upper()} {path}\n" in TEXTS["api.md"]
    for name in document["components"]["schemas"]:
        assert f"### {name}\n" in TEXTS["api.md"]
    for error in document["x-errors"]:
        assert f"## {error['code']}\n" in TEXTS["errors.md"]
    for field in FIELDS:
        assert f"| `{field}` |" in TEXTS["logs.md"]
    for metric in ("pluggably_http_requests_total", "pluggably_workers"):
        assert f"| `{metric}` |" in TEXTS["metrics.md"]
