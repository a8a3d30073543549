"""Body → struct, and what is wrong with a body that does not fit.

A good body is decoded once, straight into its type. Only when that fails, and the body has not too many values, is it
walked along the type's JSON Schema, to tell everything that is wrong at once; what is told never quotes a value.

What surprises: the walk is our own, over the few keywords that msgspec writes. A general validator tries every branch
of a choice on every entry of a list before it tells the first error: a 60 kB list of empty parts held the loop for
15 s. Here a choice between objects is settled by their `type`, so the walk is linear, and it ends at the last
violation that is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import msgspec

from pluggably.errors import MAX_VIOLATIONS, InvalidRequest, Violation

T = TypeVar("T")
Schema = Mapping[str, Any]

# Bodies with more values are told their first violation only. This many are walked in some 20 ms; a long text or an
# image as data is one of them.
LISTED_VALUES = 20_000
# The name of a field that a client made up is shown up to here.
SHOWN_NAME = 64

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_shapes: dict[Any, _Shape] = {}


def decode(body: bytes | msgspec.Raw, kind: type[T] | Any, *, root: str = "") -> T:
    """Decodes JSON into a type. `root` is the JSON pointer at which this body stands in the request.

    Raises: InvalidRequest."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        result: T = decoder.decode(body)
    except msgspec.ValidationError as error:
        result = _decoded_again(bytes(body), decoder, kind, root, str(error))
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {_plain(str(error))}", pointer=root) from None
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not valid UTF-8.", pointer=root) from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", pointer=root) from None
    return result


def may_nest(body: bytes, limit: int) -> bool:
    """Whether a body could be nested deeper than `limit`: a quick look that spares most bodies a walk."""
    return body.count(b"{") + body.count(b"[") > limit


def check_nesting(values: Iterable[Any], limit: int) -> None:
    """Refuses free-form values that are nested deeper than `limit`. Typed values need no check: their depth is that
    of their types.

    Raises: InvalidRequest."""
    level = [value for value in values if isinstance(value, dict | list)]
    for _ in range(limit):
        if not level:
            return
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, dict | list)
        ]
    if level:
        raise InvalidRequest(f"The body is nested deeper than {limit} levels.")


def _plain(message: str) -> str:
    words = message.removeprefix("JSON is ")
    return words[:1].lower() + words[1:] if words else "it cannot be read"


def _decoded_again(body: bytes, decoder: msgspec.json.Decoder[T], kind: Any, root: str, message: str) -> T:
    """A body that did not fit, without what it says twice: of a repeated key the last stands.

    Raises: InvalidRequest with all that is wrong."""
    violations: list[Violation] = []
    if _has_few_values(body):
        try:
            value = msgspec.json.decode(body)
            violations = list(islice(_shape_of(kind).violations(value, root), MAX_VIOLATIONS))
            if not violations:
                return decoder.decode(msgspec.json.encode(value))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # then the decoder's own message says what is wrong
    raise invalid(*violations or [_first(message, root)])


def _has_few_values(body: bytes) -> bool:
    return body.count(b",") + body.count(b"[") + body.count(b"{") <= LISTED_VALUES


def invalid(*violations: Violation) -> InvalidRequest:
    """The one form in which it is told what is wrong in a body."""
    first = violations[0]
    where = f"{first.pointer}: " if first.pointer else ""
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return InvalidRequest(f"{where}{first.detail}{more}", pointer=first.pointer, violations=violations)


def _step(name: object) -> str:
    """One step of a JSON pointer (RFC 6901, section 3)."""
    return "/" + str(name)[:SHOWN_NAME].replace("~", "~0").replace("/", "~1")


# ── the decoder's own message ───────────────────────────────────────────────────────────────────────────────────────

# Its messages quote values and made-up names, so they are not passed on but read.
_PATH = re.compile(r"(.*) - at `(key` in `)?\$([^`]*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([^`]*)`(.*)", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_WORDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "array": "list"}


def _first(message: str, root: str) -> Violation:
    """What the decoder stumbled over, in our words."""
    path = ""
    located = _PATH.fullmatch(message)
    if located is not None:
        message, path = located[1], located[3]
    pointer = root + _pointer(path)
    if located is not None and located[2]:
        return Violation(pointer, "has a name that is not allowed")
    missing = _MISSING.fullmatch(message)
    if missing is not None:
        return Violation(f"{pointer}/{missing[1]}", "is required")
    expected = _EXPECTED.fullmatch(message)
    if expected is not None:
        kinds = " or ".join(_WORDS.get(kind, kind) for kind in expected[1].split(" | "))
        bound = expected[2].partition(", got ")[0]
        return Violation(pointer, f"must be {kinds}{bound}")
    if message.startswith("Object contains unknown field"):
        return Violation(pointer, "holds a field that is not known")
    if message.startswith(("Invalid enum value", "Invalid value")):
        return Violation(pointer, "is not one of the values that are taken here")
    if message.startswith("Invalid RFC3339"):
        return Violation(pointer, "must be a time such as 2026-01-31T12:00:00Z")
    return Violation(pointer, "is out of range" if "out of range" in message else "is not valid")


def _pointer(path: str) -> str:
    """The decoder's `.input[0].content` as a JSON pointer. It names no key of a free object: the pointer ends there."""
    known = path.partition("[...]")[0]
    return known.replace("[", ".").replace("]", "").replace(".", "/")


# ── all that is wrong ───────────────────────────────────────────────────────────────────────────────────────────────


def _shape_of(kind: Any) -> _Shape:
    shape = _shapes.get(kind)
    if shape is None:
        shape = _shapes[kind] = _Shape(msgspec.json.schema(kind))
    return shape


_NO_NEWLINE = r"(?!\n)"
_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_NAMES = {
    "null": "null",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "a list",
    "object": "an object",
}


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


class _Shape:
    """A JSON Schema as msgspec writes it, to walk values along. Every violation is found when it is asked for."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._definitions: Mapping[str, Schema] = schema.get("$defs", {})
        # By the identity of a choice's schema, which lives as long as this does.
        self._choices: dict[int, tuple[list[Schema], dict[str, Schema]]] = {}

    def violations(self, value: Any, root: str) -> Iterator[Violation]:
        return self._check(value, self._schema, root)

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].removeprefix("#/$defs/")]
        return schema

    def _check(self, value: Any, schema: Schema, pointer: str) -> Iterator[Violation]:
        schema = self._resolved(schema)
        if "anyOf" in schema:
            yield from self._check_choice(value, schema, pointer)
        elif "enum" in schema:
            # 1 and True are equal in Python, not in JSON.
            if not any(value == known and type(value) is type(known) for known in schema["enum"]):
                yield Violation(pointer, "must be one of " + ", ".join(str(known) for known in schema["enum"]))
        elif "type" in schema:
            kind = schema["type"]
            if not _is(value, kind):
                yield Violation(pointer, f"must be {_NAMES[kind]}")
            elif kind == "object":
                yield from self._check_object(value, schema, pointer)
            elif kind == "array":
                yield from self._check_list(value, schema, pointer)
            elif kind == "string":
                yield from _check_string(value, schema, pointer)
            elif kind in ("integer", "number"):
                yield from _check_number(value, schema, pointer)

    def _check_object(self, value: dict[str, Any], schema: Schema, pointer: str) -> Iterator[Violation]:
        known: Mapping[str, Schema] = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        for name, inner in value.items():
            if name in known:
                yield from self._check(inner, known[name], pointer + _step(name))
            elif rest is False:
                yield Violation(pointer + _step(name), "is not a known field")
            elif isinstance(rest, dict):
                yield from self._check(inner, rest, pointer + _step(name))
        for name in schema.get("required", ()):
            # The decoder asks for a tag only where it has to choose by it, and that was done before.
            is_tag = name == "type" and len(known[name].get("enum", ())) == 1
            if name not in value and not is_tag:
                yield Violation(pointer + _step(name), "is required")
        if len(value) > schema.get("maxProperties", len(value)):
            yield Violation(pointer, f"may have at most {schema['maxProperties']} fields")
        longest = schema.get("propertyNames", {}).get("maxLength")
        if longest is not None:
            for name in value:
                if len(name) > longest:
                    yield Violation(pointer + _step(name), f"its name may have at most {longest} characters")

    def _check_list(self, value: list[Any], schema: Schema, pointer: str) -> Iterator[Violation]:
        yield from _check_length(len(value), schema, pointer, "minItems", "maxItems", "entries")
        items = schema.get("items")
        if items:
            for i, inner in enumerate(value):
                yield from self._check(inner, items, f"{pointer}/{i}")

    def _check_choice(self, value: Any, schema: Schema, pointer: str) -> Iterator[Violation]:
        """A choice is settled before anything inside is looked at: by the JSON type, and between objects by their
        `type`."""
        choice = self._choices.get(id(schema))
        if choice is None:
            choice = self._choices[id(schema)] = self._options(schema)
        options, tagged = choice
        if isinstance(value, dict) and tagged:
            option = tagged.get(value["type"]) if isinstance(value.get("type"), str) else None
            if option is not None:
                yield from self._check(value, option, pointer)
            else:
                must = "must be" if "type" in value else "is required,"
                yield Violation(f"{pointer}/type", f"{must} one of {', '.join(sorted(tagged))}")
            return
        fitting = [option for option in options if self._may_be(value, option)]
        if not fitting:
            yield Violation(pointer, "must be " + self._listed(options))
        for option in fitting[:1]:
            yield from self._check(value, option, pointer)

    def _options(self, schema: Schema) -> tuple[list[Schema], dict[str, Schema]]:
        """The options of a choice, those of its inner choices included; and its objects by their `type`."""
        options: list[Schema] = []
        tagged: dict[str, Schema] = {}
        for option in schema["anyOf"]:
            resolved = self._resolved(option)
            if "anyOf" in resolved:
                inner, inner_tagged = self._options(resolved)
                options += inner
                tagged |= inner_tagged
            else:
                options.append(resolved)
        for tag, ref in schema.get("discriminator", {}).get("mapping", {}).items():
            tagged[tag] = self._resolved({"$ref": ref})
        return options, tagged

    @staticmethod
    def _may_be(value: Any, option: Schema) -> bool:
        if "enum" in option:
            return isinstance(value, str)
        return "type" not in option or _is(value, option["type"])

    @staticmethod
    def _listed(options: list[Schema]) -> str:
        """`a string, a list or null`."""
        names: dict[str, None] = {}
        for option in options:
            if "enum" in option:
                names |= dict.fromkeys(str(known) for known in option["enum"])
            else:
                names[_NAMES[option["type"]]] = None
        *most, last = names
        return f"{', '.join(most)} or {last}" if most else last


def _check_string(value: str, schema: Schema, pointer: str) -> Iterator[Violation]:
    yield from _check_length(len(value), schema, pointer, "minLength", "maxLength", "characters")
    if "pattern" in schema and re.search(schema["pattern"], value) is None:
        # Without the look-ahead that only says what `$` means outside Python.
        yield Violation(pointer, f"must match {schema['pattern'].removesuffix(_NO_NEWLINE)}")


def _check_length(size: int, schema: Schema, pointer: str, low: str, high: str, unit: str) -> Iterator[Violation]:
    if size < schema.get(low, 0):
        yield Violation(
            pointer, "must not be empty" if schema[low] == 1 else f"must have at least {schema[low]} {unit}"
        )
    if high in schema and size > schema[high]:
        yield Violation(pointer, f"may have at most {schema[high]} {unit}")


def _check_number(value: float, schema: Schema, pointer: str) -> Iterator[Violation]:
    if "minimum" in schema and value < schema["minimum"]:
        yield Violation(pointer, f"must be at least {schema['minimum']}")
    if "maximum" in schema and value > schema["maximum"]:
        yield Violation(pointer, f"must be at most {schema['maximum']}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield Violation(pointer, f"must be more than {schema['exclusiveMinimum']}")
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        yield Violation(pointer, f"must be less than {schema['exclusiveMaximum']}")
