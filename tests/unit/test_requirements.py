"""docs/requirements.md says what is there, and what is not: this holds it to the tests and pages that it names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGE = ROOT / "docs" / "requirements.md"
NOT_YET = "not yet: "

# What the product asks for, and what of the system each leads to.
PRODUCT = {
    "SH-REQ-001": {"SYS-REQ-001", "SYS-REQ-005"},
    "SH-REQ-002": {"SYS-REQ-002", "SYS-REQ-006"},
    "SH-REQ-003": {"SYS-REQ-003"},
    "SH-REQ-004": {"SYS-REQ-004"},
    "SH-REQ-005": {"SYS-REQ-010"},
    "SH-REQ-006": {"SYS-REQ-011"},
    "SH-REQ-007": {"SYS-REQ-009"},
    "SH-REQ-008": {"SYS-REQ-009"},
    "SH-REQ-009": {"SYS-REQ-008"},
    "SH-REQ-010": {"SYS-REQ-012"},
    "SH-REQ-011": {"SYS-REQ-013"},
    "SH-REQ-012": {"SYS-REQ-014"},
    "SH-REQ-013": {"SYS-REQ-015"},
    "SH-REQ-014": {"SYS-REQ-017"},
    "SH-REQ-015": {"SYS-REQ-016"},
}
QUALITIES = {f"SH-NFR-{number:03}" for number in range(1, 9)}
SYSTEM = {f"SYS-REQ-{number:03}" for number in range(1, 18)}


class Row(NamedTuple):
    """One system requirement."""

    id: str
    does: str
    shown_by: str

    @property
    def of(self) -> str:
        return self.id.partition(".")[0]

    @property
    def is_there(self) -> bool:
        return not self.shown_by.startswith(NOT_YET)

    @property
    def tests(self) -> list[str]:
        return re.findall(r"`([^`]+\.py(?:::[^`]*)?)`", self.shown_by)

    @property
    def pages(self) -> list[str]:
        return re.findall(r"\]\(([^)#]+)", self.shown_by)


def cells(beginning: str) -> list[list[str]]:
    """The rows of the page's tables whose first cell begins so."""
    lines = PAGE.read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return [row for row in rows if row[0].strip("| ").startswith(beginning)]


ROWS = [Row(*row) for row in cells("SYS-")]
ASKED = {row[0].strip("| "): row[1:] for row in cells("SH-")}


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((TESTS / file).read_text("utf-8"))


def always_skipped(node: ast.AST) -> bool:
    """Whether a test, a class or a module is marked so that it never runs, or never counts."""
    marks = list(getattr(node, "decorator_list", []))
    marks += [
        statement.value
        for statement in getattr(node, "body", [])
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark"
    ]
    if any(re.search(r"mark\.(skip\b|xfail|skipif\((True|1)\b)", ast.unparse(mark)) for mark in marks):
        return True
    first = [one for one in getattr(node, "body", []) if not isinstance(one, ast.Expr) or _is_call(one)][:1]
    return bool(first) and re.match(r"pytest\.(skip|xfail)\(", ast.unparse(first[0])) is not None


def _is_call(statement: ast.Expr) -> bool:
    return isinstance(statement.value, ast.Call)


def test_every_requirement_of_the_product_appears_with_what_it_leads_to() -> None:
    """None was forgotten, and none leads elsewhere."""
    assert set(ASKED) == {*PRODUCT, *QUALITIES}
    led = {name: set(re.findall(r"SYS-(?:REQ|NFR)-\d{3}", row[1])) for name, row in ASKED.items()}
    assert {name: to for name, to in led.items() if name in PRODUCT} == PRODUCT
    assert all(led.values())
    assert set.union(*led.values()) == {row.of for row in ROWS}


def test_every_system_requirement_appears_once() -> None:
    """Each number has its rows, counted from one."""
    names = {row.of for row in ROWS}
    assert names >= SYSTEM
    for name in names:
        numbers = [row.id.partition(".")[2] for row in ROWS if row.of == name]
        assert numbers == [str(number) for number in range(1, len(numbers) + 1)], name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_what_a_row_names_is_there(row: Row) -> None:
    """Each test and page that it names exists, and no test that it names is always skipped or only run by hand; a row
    without any says what is missing."""
    if not row.is_there:
        assert len(row.shown_by) > len(NOT_YET) + 10
        assert (row.tests, row.pages) == ([], [])
        return
    assert row.does
    assert row.tests or row.pages
    for page in row.pages:
        assert (PAGE.parent / page).is_file(), page
    for test in row.tests:
        file, _, name = test.partition("::")
        assert not file.startswith("live/"), test
        assert (TESTS / file).is_file(), test
        found = [one for one in tree(file).body if getattr(one, "name", None) == name]
        assert len(found) == 1 and name.lower().startswith("test"), test
        assert not always_skipped(tree(file)) and not always_skipped(found[0]), test


@pytest.mark.parametrize("name", sorted(ASKED))
def test_a_state_follows_from_the_rows(name: str) -> None:
    """There: all of it; not yet: none of it; else in part."""
    there = {row.is_there for row in ROWS if row.of in ASKED[name][1]}
    assert ASKED[name][2].rstrip("| ") == ("in part" if len(there) > 1 else "there" if there.pop() else "not yet")


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.skip(reason='later')\ndef test_x(): pass",
        "@pytest.mark.skipif(True, reason='later')\ndef test_x(): pass",
        "@pytest.mark.xfail\ndef test_x(): pass",
        "def test_x():\n    '''A sentence.'''\n    pytest.skip('later')",
    ],
)
def test_a_test_that_never_runs_is_noticed(source: str) -> None:
    """In each of the ways in which a test is switched off; one that depends on the machine is not."""
    assert always_skipped(ast.parse(source).body[0])
    assert always_skipped(ast.parse("pytestmark = pytest.mark.skip"))
    conditional = (
        "@pytest.mark.skipif(not DEMO.exists(), reason='no demo')\ndef test_x():\n    '''Yes.'''\n    assert x"
    )
    assert not always_skipped(ast.parse(conditional).body[0])
