"""docs/differences.md says what the codecs do, and the codecs do the same thing in the same words."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[2] / "scripts" / "reference_differences.py"), run_name="reference_differences"
)
FOUND: dict[str, dict[str, list[Any]]] = SCRIPT["told"](SCRIPT["everything"]())
# Where the reasons differ, and so do the words: no field for it at all, or none without what came with it; a place that
# is not this one, or none but the beginning; or the nearest effort of one model is another than that of the next.
SEVERAL_REASONS = (
    "reasoning without a `provider_state`",
    "a system message after the first answer",
    "`reasoning.effort: minimal`",
)


def test_the_page_is_current() -> None:
    """`make docs` was run after the last change of a codec or a preset."""
    for path, text in SCRIPT["pages"]().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run scripts/reference.py"


@pytest.mark.parametrize("asked", FOUND)
def test_the_same_loss_is_told_alike_everywhere(asked: str) -> None:
    """One thing that is asked has one place and, where it is dropped or changed, one sentence after the name."""
    lost = [(name, one) for name, losses in FOUND[asked].items() for one in losses]
    assert len({one.pointer for _, one in lost}) <= 1
    assert all(one.detail.startswith(f"{name} ") for name, one in lost)
    for outcome in ("dropped", "changed"):
        words = {one.detail.removeprefix(name) for name, one in lost if one.outcome == outcome}
        assert len(words) <= 1 + (asked in SEVERAL_REASONS)


@pytest.mark.parametrize("asked", FOUND)
def test_what_is_asked_is_lost_once(asked: str) -> None:
    """A request of the page asks for one thing that a provider may not have, so it loses no more than that."""
    assert all(len(losses) <= 1 for losses in FOUND[asked].values())


def test_every_loss_is_of_something_that_is_asked() -> None:
    """What stands in another row stands in a row of its own, too."""
    assert set(SCRIPT["MORE_OF"]) | set(SCRIPT["MORE_OF"].values()) <= set(SCRIPT["PROBES"])
