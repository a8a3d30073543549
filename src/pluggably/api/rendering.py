"""Pieces of an OpenAPI document in words, for whatever shows it: the page at `/docs`, and the Markdown reference.

Nothing here knows HTML or Markdown. What surprises: a type is told as a list of words, each of which may stand for a
component, so that a page can make links of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

Schema = Mapping[str, Any]

SCHEMA_REF = "#/components/schemas/"
EXAMPLE_ADDRESS = "http://127.0.0.1:8080"
EXAMPLE_KEY = "$PLUGGABLY_API_KEY"


class Word(msgspec.Struct, frozen=True):
    """A piece of a type's name; `component` is the schema that it stands for."""

    text: str
    component: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an object, or one parameter of an operation. `default` is JSON; None where there is none to tell.
    `components` are the objects that the field may hold."""

    name: str
    words: tuple[Word, ...]
    required: bool
    default: str | None
    limits: tuple[str, ...]
    description: str
    components: tuple[str, ...]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a document with all that shows it."""

    method: str
    path: str
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.content["operationId"])

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scope that a key needs; none where any key will do, or none is needed."""
        return tuple(scope for choice in self.content["security"] for scope in choice.get("bearer", ()))

    @property
    def needs_key(self) -> bool:
        return any(choice for choice in self.content["security"])

    @property
    def body(self) -> Schema | None:
        body = self.content.get("requestBody")
        return body["content"]["application/json"] if body else None

    @property
    def event_stream(self) -> Schema | None:
        """The streamed form of its answer, where there is one."""
        for response in self.content["responses"].values():
            media: Schema | None = response.get("content", {}).get("text/event-stream")
            if media is not None:
                return media
        return None


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Every operation, in the document's order."""
    for path, item in document["paths"].items():
        for method, content in item.items():
            yield Operation(method=method.upper(), path=path, content=content)


def rows(schema: Schema) -> list[Row]:
    """The fields of an object."""
    required = schema.get("required", ())
    return [_row(name, value, name in required) for name, value in schema.get("properties", {}).items()]


def parameter_row(parameter: Mapping[str, Any]) -> Row:
    schema = {**parameter["schema"], "description": parameter.get("description", "")}
    return _row(parameter["name"], schema, parameter.get("required", False))


def _row(name: str, schema: Schema, required: bool) -> Row:
    told = words(schema)
    default = schema.get("default")
    return Row(
        name=name,
        words=tuple(told),
        required=required,
        # A default of null, or of all that is empty, says only that the field may be left out.
        default=json.dumps(default) if default is not None and not isinstance(default, dict | list) else None,
        limits=tuple(limits(schema)),
        description=schema.get("description", ""),
        components=tuple(dict.fromkeys(word.component for word in told if word.component)),
    )


# ── types ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def words(schema: Schema) -> list[Word]:
    """A type as words: `string or null`, `list of Message`."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(SCHEMA_REF)
        return [Word(name, name)]
    if "anyOf" in schema:
        return _choice([words(option) for option in _flat(schema)])
    if "enum" in schema:
        return [Word(" | ".join(json.dumps(value) for value in schema["enum"]))]
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return [Word("list of "), *_plural(schema.get("items", {}))]
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return [Word("object of "), *_plural(schema["additionalProperties"])]
    if schema.get("format") == "date-time":
        return [Word("time")]
    return [Word(str(kind))]


def _choice(options: list[list[Word]]) -> list[Word]:
    told = options[0]
    for option in options[1:]:
        told = [*told, Word(" or "), *option]
    return told


def _plural(schema: Schema) -> list[Word]:
    """What a list or an object holds; a choice is put into brackets, lest it read as a choice of lists."""
    if not schema:
        return [Word("any JSON")]
    told = words(schema)
    return [Word("("), *told, Word(")")] if len(told) > 1 else told


def _flat(schema: Schema) -> Iterator[Schema]:
    """The options of a choice, those of its inner choices included."""
    for option in schema.get("anyOf", (schema,)):
        if "anyOf" in option:
            yield from _flat(option)
        else:
            yield option


_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "maxProperties": "at most {} fields",
    "pattern": "matches `{}`",
}
# A lower limit of one is a word of its own.
_NOT_EMPTY = {"minLength", "minItems"}


def limits(schema: Schema) -> Iterator[str]:
    """What a value must keep to beside its type, each told once."""
    told: dict[str, None] = {}
    for option in _flat(schema):
        if "minimum" in option and "maximum" in option:
            told[f"{option['minimum']} to {option['maximum']}"] = None
        for keyword, text in _LIMITS.items():
            paired = keyword in ("minimum", "maximum") and "minimum" in option and "maximum" in option
            if keyword not in option or paired:
                continue
            value = option[keyword]
            if keyword == "pattern":
                value = readable_pattern(value)
            told["not empty" if keyword in _NOT_EMPTY and value == 1 else text.format(value)] = None
        names = option.get("propertyNames", {}).get("maxLength")
        values = option.get("additionalProperties")
        if names is not None:
            told[f"names of at most {names} characters"] = None
        if isinstance(values, dict) and "maxLength" in values:
            told[f"values of at most {values['maxLength']} characters"] = None
    yield from told


def readable_pattern(pattern: str) -> str:
    """A pattern without the look-ahead that only says what `$` means outside Python."""
    return pattern.removesuffix(r"(?!\n)")


def variants(schema: Schema) -> tuple[str, ...]:
    """The components that a choice is between, where a schema is one."""
    return tuple(option["$ref"].removeprefix(SCHEMA_REF) for option in _flat(schema) if "$ref" in option)


# ── examples ────────────────────────────────────────────────────────────────────────────────────────────────────────


def pretty(value: Any) -> str:
    """JSON with short objects and lists on one line."""
    return _pretty(value, 0, 0)


def _pretty(value: Any, indent: int, column: int) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or column + len(line) <= 84:
        return line
    inner = indent + 2
    if isinstance(value, list):
        pieces = [_pretty(entry, inner, inner) for entry in value]
    else:
        names = [json.dumps(name, ensure_ascii=False) for name in value]
        pieces = [
            f"{name}: {_pretty(entry, inner, inner + len(name) + 2)}"
            for name, entry in zip(names, value.values(), strict=True)
        ]
    opening, closing = ("[", "]") if isinstance(value, list) else ("{", "}")
    return opening + "\n" + ",\n".join(" " * inner + piece for piece in pieces) + "\n" + " " * indent + closing


def curl(operation: Operation, body: Any = None) -> str:
    """A command line for the operation, with the example body."""
    path = operation.path
    for parameter in operation.content.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", "…")))
    parts = ["curl"]
    if isinstance(body, dict) and body.get("stream"):
        parts[0] += " -N"
    if operation.method not in ("GET", "POST") or (operation.method == "POST" and body is None):
        parts[0] += f" -X {operation.method}"
    parts[0] += f" {EXAMPLE_ADDRESS}{path}"
    if operation.needs_key:
        parts.append(f'-H "Authorization: Bearer {EXAMPLE_KEY}"')
    if body is not None:
        parts.append("-H 'Content-Type: application/json'")
        parts.append("-d '" + pretty(body).replace("'", "'\\''") + "'")
    return " \\\n  ".join(parts)


def problem_codes(operation: Operation) -> dict[str, list[str]]:
    """status → codes of what this operation answers when it fails, without what any operation can answer."""
    return {
        status: response["x-codes"]
        for status, response in operation.content["responses"].items()
        if "x-codes" in response
    }


def shared_codes(document: Mapping[str, Any]) -> list[str]:
    """The codes that any operation can answer."""
    return [code for response in document["components"]["responses"].values() for code in response["x-codes"]]


def first_example(media: Mapping[str, Any]) -> Any:
    examples = media.get("examples")
    return next(iter(examples.values()))["value"] if examples else None
