"""Body → struct, and what is wrong with a body that does not fit.

A good body is decoded once, straight into its type. Only when that fails, and the body is not large, is it looked at
again, by JSON Schema, to tell everything that is wrong at once; what is told never quotes a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from pluggably.errors import MAX_VIOLATIONS, InvalidRequest, Violation

T = TypeVar("T")

# A 1.2 MB body held the loop for 4.5 s in JSON Schema; larger bodies are told their first violation only.
LISTED_BYTES = 64 * 1024

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(body: bytes | msgspec.Raw, kind: type[T] | Any, *, root: str = "") -> T:
    """Decodes JSON into a type. `root` is the JSON pointer at which this body stands in the request.

    Raises: InvalidRequest."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        result: T = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _not_valid(bytes(body), kind, root, str(error)) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {_plain(str(error))}", pointer=root) from None
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not valid UTF-8.", pointer=root) from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", pointer=root) from None
    return result


def check_nesting(body: bytes, limit: int, *values: Any) -> None:
    """Refuses free-form values that are nested deeper than `limit`. Typed values need no check: their depth is that
    of their types.

    Raises: InvalidRequest."""
    if body.count(b"{") + body.count(b"[") <= limit:
        return
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
    return message[:1].lower() + message[1:] if message else "it cannot be read"


def _not_valid(body: bytes, kind: Any, root: str, message: str) -> InvalidRequest:
    violations = _violations(body, kind, root) if len(body) <= LISTED_BYTES else []
    if not violations:
        text, _, path = message.partition(" - at `")
        violations = [Violation(root + _pointer_of(path.rstrip("`")), text)]
    first = violations[0]
    where = f"{first.pointer}: " if first.pointer else ""
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return InvalidRequest(f"{where}{first.detail}{more}", pointer=first.pointer, violations=violations)


def _pointer_of(path: str) -> str:
    """msgspec's `$.messages[0].content` as a JSON pointer."""
    return path.removeprefix("$").replace("[", ".").replace("]", "").replace(".", "/")


def _violations(body: bytes, kind: Any, root: str) -> list[Violation]:
    from jsonschema import Draft202012Validator

    try:
        instance = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return []
    validator = Draft202012Validator(msgspec.json.schema(kind))
    found: dict[tuple[str, str], Violation] = {}
    for error in validator.iter_errors(instance):
        for violation in _explained(error, root):
            found[violation.pointer, violation.detail] = violation
            if len(found) >= MAX_VIOLATIONS:
                return list(found.values())
    return list(found.values())


def _explained(error: Any, root: str) -> Iterator[Violation]:
    """One schema error in our words. A failed choice between types is told as the errors of the one that was meant:
    the one whose `type` tag fits, or the one of the right JSON type."""
    pointer = root + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in error.absolute_path)
    if error.validator == "anyOf":
        branches: dict[int, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        meant = [errors for errors in branches.values() if not any(_rules_out(inner, error) for inner in errors)]
        if len(meant) == 1:
            for inner in meant[0]:
                yield from _explained(inner, root)
        else:
            yield Violation(pointer, _expected(error))
    elif error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        yield from (Violation(f"{pointer}/{name}", "is required") for name in missing[:1])
    elif error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for name in error.instance:
            if name not in known:
                shown = name.replace("~", "~0").replace("/", "~1")[:64]
                yield Violation(f"{pointer}/{shown}", "is not a known field")
    else:
        yield Violation(pointer, _told(error))


def _rules_out(inner: Any, outer: Any) -> bool:
    """Whether an error shows that its branch was not the one that was meant."""
    depth = len(inner.absolute_path) - len(outer.absolute_path)
    if depth == 0 and inner.validator == "type":
        return True
    at_tag = depth == 1 and inner.absolute_path[-1] == "type" and inner.validator in ("enum", "const")
    return at_tag or (depth == 0 and inner.validator == "required" and "type" not in inner.instance)


def _expected(error: Any) -> str:
    """What a failed choice would have taken."""
    mapping = error.schema.get("discriminator", {}).get("mapping")
    if mapping:
        return "needs a `type`, one of " + ", ".join(sorted(mapping))
    kinds = [option.get("type") or "object" for option in error.validator_value]
    return "must be " + " or ".join(dict.fromkeys(str(kind) for kind in kinds))


_TOLD = {
    "type": "must be of type {0}",
    "enum": "must be one of {0}",
    "const": "must be {0}",
    "minimum": "must be at least {0}",
    "maximum": "must be at most {0}",
    "exclusiveMinimum": "must be more than {0}",
    "exclusiveMaximum": "must be less than {0}",
    "minLength": "must have at least {0} characters",
    "maxLength": "may have at most {0} characters",
    "minItems": "must have at least {0} items",
    "maxItems": "may have at most {0} items",
    "maxProperties": "may have at most {0} fields",
    "pattern": "must match {0}",
}


def _told(error: Any) -> str:
    wanted = error.validator_value
    if isinstance(wanted, list):
        wanted = ", ".join(str(value) for value in wanted)
    return _TOLD.get(error.validator, "is not valid").format(wanted)
