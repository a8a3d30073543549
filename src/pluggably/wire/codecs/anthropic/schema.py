"""JSON Schemas as Anthropic's structured outputs take them: what their dialect does not know is cut, and told.

What surprises: an object without `additionalProperties: false` is refused there, so it is put in everywhere. An answer
that obeys the cut schema may break what was cut, and so may the schema's other half: the caller is told which words
went.

Source: platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations" (2026-11), and what
the vendor's own SDK sends for a type (anthropic 2.12.0).
"""

from __future__ import annotations

import re
from typing import Any

from pluggably.domain.generation import JsonObject

_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"))
_KEPT = frozenset(
    (
        *("type", "title", "description", "default", "enum", "const", "$ref", "required", "format", "pattern"),
        *("properties", "items", "anyOf", "allOf", "$defs", "definitions", "minItems", "additionalProperties"),
    )
)
# Words that constrain nothing.
_SAYS_NOTHING = frozenset(("$schema", "$id", "$comment", "examples", "deprecated", "readOnly", "writeOnly"))
# "Backreferences, lookahead and lookbehind assertions, and word boundaries" are not among what patterns may have.
_RICH_PATTERN = re.compile(r"\(\?(=|!|<=|<!)|\\[1-9bB]")


def cut(schema: JsonObject) -> tuple[JsonObject, list[str]]:
    """The schema in their dialect, and which of its words are not in it any more."""
    lost: set[str] = set()
    return _cut(schema, lost), sorted(lost)


def _cut(schema: Any, lost: set[str]) -> Any:
    if not isinstance(schema, dict):  # `true` and `false` are schemas, too
        return schema
    kept: JsonObject = {}
    for word, value in schema.items():
        if word in ("properties", "$defs", "definitions") and isinstance(value, dict):
            kept[word] = {name: _cut(part, lost) for name, part in value.items()}
        elif word == "items":
            kept[word] = _cut(value, lost)
        elif word in ("anyOf", "allOf", "oneOf") and isinstance(value, list):
            if word == "oneOf":  # that no more than one may match
                lost.add(word)
            kept["anyOf" if word == "oneOf" else word] = [_cut(part, lost) for part in value]
        elif word in _KEPT and _is_known(word, value):
            kept[word] = value
        elif word not in _SAYS_NOTHING:
            lost.add(word)
    if kept.get("type") == "object" or "properties" in kept:
        kept["additionalProperties"] = False
    return kept


def _is_known(word: str, value: Any) -> bool:
    if word == "format":
        return isinstance(value, str) and value in _FORMATS
    if word == "pattern":
        return isinstance(value, str) and not _RICH_PATTERN.search(value)
    if word == "minItems":
        return value in (0, 1)
    return word != "additionalProperties" or value is False
