"""What the command line prints: tables, and answers as they come.

What surprises: what models and others say must not steer the terminal."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from pluggably.connection import GatewayClient


# What `print_answer` returns where there was no answer.
FAILED = 1


def table(head: list[str], rows: list[list[str]]) -> str:
    """Rows in columns, as wide as they need to be: readable, and the same in a pipe. What stands in them was named by
    others, and must not steer the terminal."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def one_line(text: str) -> str:
    """Text without line breaks and what else a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def price_words(target: dict[str, Any]) -> str:
    """What a million tokens cost, in and out."""
    price = target["price"]
    if target["free"]:
        return "free"
    if price is None or price["input_per_million"] is None or price["output_per_million"] is None:
        return "-"
    return f"${price['input_per_million']} / ${price['output_per_million']}"


def print_answer(asked: GatewayClient, request: dict[str, Any], as_json: bool, out: TextIO, errors: TextIO) -> int:
    """Prints a generation as its events come; what is not the answer goes to `errors`."""
    progress = errors.isatty() and not as_json
    for name, event in asked.events(request):
        if name == "generation.progress" and progress:
            errors.write(f"\r\x1b[K{_progress_words(event)}")
        elif name == "generation.started" and progress:
            errors.write("\r\x1b[K")
        elif name == "output.delta" and not as_json and event["item_type"] in ("text", "refusal"):
            text = event.get("text") or ""
            out.write(_harmless(text) if out.isatty() else text)
            out.flush()
        elif name in ("generation.completed", "generation.failed", "generation.cancelled"):
            generation = event["generation"]
            out.write(json.dumps(generation, indent=2) if as_json else "")
            out.write("\n")
            out.flush()
            return _print_end(generation, errors)
    return FAILED


def _print_end(generation: dict[str, Any], errors: TextIO) -> int:
    for warning in generation["warnings"]:
        errors.write(one_line(f"warning: {warning['detail']}") + "\n")
    error = generation["error"]
    if error is not None:
        errors.write(one_line(f"pluggably: {error['detail']} ({error['code']})") + "\n")
        return FAILED
    if generation["finish_reason"] == "length":
        errors.write("The answer was cut at its longest; --max-output-tokens allows more.\n")
    elif generation["finish_reason"] == "content_filter":
        errors.write("The answer was refused or cut off by the provider's content filter.\n")
    return 0


def _harmless(text: str) -> str:
    """An answer as it may go to a terminal: what a model says must not steer it."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)


def _progress_words(event: dict[str, Any]) -> str:
    fraction = event.get("fraction")
    return f"{event['stage']} {fraction:.0%}" if fraction is not None else f"{event['stage']} …"
