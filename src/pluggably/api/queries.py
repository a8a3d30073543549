"""The query parameters of the API, each declared once: what the reference tells of them is what is checked.

What surprises: a parameter that a path does not take is refused like an unknown field of a body, since a misspelt
filter that is silently ignored answers with the wrong list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from msgspec.structs import fields

from pluggably.domain.catalog import Capabilities, ModelStatus
from pluggably.domain.generation import Location, Modality
from pluggably.errors import InvalidRequest

MAX_PAGE = 1000


def _one_of(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


# name → JSON Schema, description included. Only the keywords that `check` knows may stand here.
PARAMETERS: dict[str, dict[str, Any]] = {
    "modality": {**_one_of(*get_args(Modality)), "description": "Only models that make this."},
    "location": {
        **_one_of(*get_args(Location)),
        "description": "Only models that run here (`local`), or only those that send data elsewhere (`remote`).",
    },
    "capability": {
        **_one_of(*(field.name for field in fields(Capabilities))),
        "description": "Only models that are known to have this capability; one that is not known passes no filter.",
    },
    "status": {**_one_of(*get_args(ModelStatus)), "description": "Only models with this status."},
    **{
        name: {"type": "string", "description": f"As `routing.{name}` of a request; several names with commas."}
        for name in ("only", "ignore", "order")
    },
    "sort": {**_one_of("price", "latency"), "description": "As `routing.sort` of a request."},
    "limit": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_PAGE,
        "default": MAX_PAGE,
        "description": "How many entries at most.",
    },
    "cursor": {"type": "string", "description": "The `next_cursor` of the page before."},
    "force": {"type": "boolean", "default": False, "description": "Delete it even while it runs."},
}


def check(query: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuses a query that holds what is not among `names`, or a value that its parameter does not take.

    Raises: InvalidRequest, which quotes no value."""
    for name, value in query.items():
        if name not in names:
            takes = ", ".join(f"`{known}`" for known in names) or "none"
            raise InvalidRequest(f"This path does not take one of the query parameters sent (it takes {takes}).")
        wrong = _wrong(PARAMETERS[name], value)
        if wrong is not None:
            raise InvalidRequest(f"The query parameter `{name}` must be {wrong}.")


def _wrong(schema: Mapping[str, Any], value: str) -> str | None:
    """What a value should have been; None where it is right."""
    if schema["type"] == "boolean":
        return None if value in ("true", "false") else "`true` or `false`"
    if schema["type"] == "integer":
        low, high = schema["minimum"], schema["maximum"]
        digits = value.isascii() and value.isdigit() and len(value) <= 9
        return None if digits and low <= int(value) <= high else f"a number from {low} to {high}"
    if value not in schema.get("enum", (value,)):
        return "one of " + ", ".join(f"`{known}`" for known in schema["enum"])
    return None
