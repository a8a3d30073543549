"""JSON Schemas as Gemini understands them: the client's schema, cut to what the vendor documents.

What surprises: what says the same in other words is put into these words (`const`, `definitions`), and only what cannot
be said is left out, by name, so that the client hears of it. A property may be called `const`, too: names of properties
are never taken for keywords.

Source: the fields `responseJsonSchema` and `parametersJsonSchema` of ai.google.dev/api/generate-content (2026-11), and
of the types of google-genai 3.4.0.
"""

from __future__ import annotations

from typing import Any

from pluggably.domain.generation import JsonObject

_KEPT = frozenset(
    ("$id", "$anchor", "type", "format", "title", "description", "required", "propertyOrdering")
) | frozenset(("minItems", "maxItems", "minimum", "maximum"))
_SCHEMAS_BY_NAME = frozenset(("properties", "$defs"))
_LISTS_OF_SCHEMAS = frozenset(("anyOf", "oneOf", "prefixItems"))
# These may also be `true` or `false`.
_SCHEMAS = frozenset(("items", "additionalProperties"))
# These say nothing that an answer could break.
_SILENT = frozenset(("$schema", "$comment", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"))


def cut_schema(schema: JsonObject) -> tuple[JsonObject, list[str]]:
    """The schema in the vendor's dialect, and the keywords that it has no words for, in order. The given one stays as
    it is."""
    lost: set[str] = set()
    return _cut(schema, lost), sorted(lost)


def _cut(schema: JsonObject, lost: set[str]) -> JsonObject:
    cut: JsonObject = {}
    for given, value in schema.items():
        key = "$defs" if given == "definitions" else given
        if key in _KEPT:
            cut[key] = value
        elif key in _SCHEMAS_BY_NAME and isinstance(value, dict):
            cut[key] = {name: _cut_any(each, lost) for name, each in value.items()}
        elif key in _LISTS_OF_SCHEMAS and isinstance(value, list):
            if key == "oneOf":  # "interpreted the same as `anyOf`": that no more than one may match is lost
                lost.add(key)
            cut[key] = [_cut_any(each, lost) for each in value]
        elif key in _SCHEMAS:
            cut[key] = _cut_any(value, lost)
        elif key == "const" and "enum" not in schema and _may_be_listed([value]):
            cut["enum"] = [value]
        elif key == "enum" and _may_be_listed(value):
            cut[key] = value
        elif key == "$ref":
            cut[key] = value.replace("#/definitions/", "#/$defs/") if isinstance(value, str) else value
        elif key not in _SILENT:
            lost.add(key)
    if "$ref" in cut:
        # "If `$ref` is set on a sub-schema, no other properties, except for than those starting as a `$`, may be set."
        beside = {key for key in cut if not key.startswith("$")}
        lost |= beside - {"title", "description"}
        cut = {key: value for key, value in cut.items() if key not in beside}
    return cut


def _cut_any(value: Any, lost: set[str]) -> Any:
    return _cut(value, lost) if isinstance(value, dict) else value


def _may_be_listed(values: Any) -> bool:
    """ "`enum` (for strings and numbers)"."""
    return isinstance(values, list) and all(
        isinstance(value, str | int | float) and not isinstance(value, bool) for value in values
    )
