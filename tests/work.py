"""How much work a piece of code does, as a number that is the same on a fast machine and on a busy one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def lines_run(action: Callable[[], object]) -> int:
    """Lines of Python that `action` runs. Blind to what C does inside a call."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count
