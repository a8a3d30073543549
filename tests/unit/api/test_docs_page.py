"""The page at /docs: whole, safe, and made from the document alone."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import json
import re
import shlex
from html.parser import HTMLParser
from typing import Any

import pytest
from route_table import described_documents, document, request
from starlette.responses import Response

from pluggably.api import rendering
from pluggably.api.docs_page import CONTENT_SECURITY_POLICY, docs_page
from pluggably.api.rendering import Operation, pretty, words

DOCUMENT = document()
PAGE = docs_page(DOCUMENT)
VOID = {"meta", "link", "input", "br"}


class Outline(HTMLParser):
    """Reads the page as strictly as it was written: every element that opens is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.loads: list[str] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.attributes |= set(given)
        if "id" in given:
            self.ids.append(given["id"] or "")
        if tag == "a":
            self.links.append(given["href"] or "")
        elif "href" in given or "src" in given:
            self.loads.append(given.get("href") or given.get("src") or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    return parser


OUTLINE = outline(PAGE)


def test_the_page_is_well_formed() -> None:
    """Every element is closed where it was opened, and no id is given twice."""
    assert OUTLINE.open == []
    assert len(set(OUTLINE.ids)) == len(OUTLINE.ids)


def test_every_link_leads_somewhere() -> None:
    """A link is to a place on the page, or to the document itself."""
    assert {link for link in OUTLINE.links if not link.startswith("#")} == {"/openapi.json"}
    assert {link[1:] for link in OUTLINE.links if link.startswith("#")} <= set(OUTLINE.ids)


def test_every_operation_error_and_type_is_on_the_page() -> None:
    """Nothing of the document is left out."""
    for operation in rendering.operations(DOCUMENT):
        assert operation.id in OUTLINE.ids
    assert {f"error-{error['code']}" for error in DOCUMENT["x-errors"]} <= set(OUTLINE.ids)
    assert {f"type-{name}" for name in DOCUMENT["components"]["schemas"]} <= set(OUTLINE.ids)
    for event in DOCUMENT["components"]["schemas"]["StreamEvent"]["discriminator"]["mapping"]:
        assert f">{event}<" in PAGE


def test_the_page_loads_nothing() -> None:
    """No font, style, script or picture comes from elsewhere, and nothing stands in an attribute that could run."""
    assert [source for source in OUTLINE.loads if not source.startswith("data:image/svg+xml,")] == []
    assert [name for name in OUTLINE.attributes if name.startswith("on") or name == "style"] == []
    assert "@import" not in PAGE and "url(" not in PAGE


def test_the_policy_allows_only_what_is_in_the_page() -> None:
    """The style and the script are allowed by the hash of their text, and everything else is forbidden."""
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none';")
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_the_page_is_served_with_its_policy() -> None:
    """As HTML, guarded, with an ETag by which a copy is asked about."""
    documents = described_documents()
    answer = asyncio.run(documents.page(request()))
    assert isinstance(answer, Response)
    assert bytes(answer.body).decode() == PAGE
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = asyncio.run(documents.page(request(if_none_match=answer.headers["etag"])))
    assert again.status_code == 304


def hostile(value: Any) -> Any:
    """The document with a piece of markup at the end of every string that is prose."""
    if isinstance(value, dict):
        prose = ("summary", "description", "title", "advice", "version")
        return {
            key: f"{inner}<script>x()</script>\"'&" if key in prose and isinstance(inner, str) else hostile(inner)
            for key, inner in value.items()
        }
    return [hostile(inner) for inner in value] if isinstance(value, list) else value


def test_what_comes_out_of_the_document_is_escaped() -> None:
    """Markup in a description is shown as text, so that no prose can become a script."""
    page = docs_page(hostile(copy.deepcopy(DOCUMENT)))
    assert page.count("<script>") == 1
    assert outline(page).open == []


def test_the_page_works_for_a_phone_and_in_the_dark() -> None:
    """It names the width of the device, and both colour schemes."""
    assert '<meta name="viewport" content="width=device-width,initial-scale=1">' in PAGE
    assert "prefers-color-scheme:dark" in PAGE
    assert "@media (max-width:" in PAGE


# ── pieces ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def operation(method: str, path: str) -> Operation:
    return next(o for o in rendering.operations(DOCUMENT) if (o.method, o.path) == (method, path))


@pytest.mark.parametrize(
    ("method", "path"), [(o.method, o.path) for o in rendering.operations(DOCUMENT)], ids=lambda part: str(part)
)
def test_command_lines_are_command_lines(method: str, path: str) -> None:
    """A shell reads each as curl, its headers and one body that is the example, quotes included."""
    shown = operation(method, path)
    bodies = [example["value"] for example in (shown.body or {}).get("examples", {}).values()] or [None]
    for body in bodies:
        read = shlex.split(rendering.curl(shown, body).replace("\\\n", " "))
        assert read[0] == "curl"
        assert ("Authorization: Bearer $PLUGGABLY_API_KEY" in read) == shown.needs_key
        assert "{" not in next(part for part in read if part.startswith("http://"))
        assert ("-d" in read) == (body is not None)
        if body is not None:
            assert json.loads(read[read.index("-d") + 1]) == body
        if method == "DELETE":
            assert read[read.index("-X") + 1] == "DELETE"


def test_a_quote_in_a_body_survives_the_shell() -> None:
    """An apostrophe neither ends the argument nor is lost."""
    body = {"model": "demo", "input": "Why isn't it 'green'?"}
    read = shlex.split(rendering.curl(operation("POST", "/v1/generations"), body).replace("\\\n", " "))
    assert json.loads(read[-1]) == body


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string"}, "string"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Tool"}}, "list of Tool"),
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "list of (string or null)"),
        ({"enum": ["a", "b"]}, '"a" | "b"'),
        ({"type": "string", "format": "date-time"}, "time"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "object of string"),
        ({"type": "array"}, "list of any JSON"),
        ({}, "any JSON"),
    ],
)
def test_types_in_words(schema: dict[str, Any], told: str) -> None:
    """A type reads as one would say it."""
    assert "".join(word.text for word in words(schema)) == told


@pytest.mark.parametrize("value", [{}, [], {"a": [1, None, "ü", {"b": "x" * 90}]}, ["x" * 50, "y" * 50], 1.5, "s"])
def test_pretty_json_is_the_same_json(value: Any) -> None:
    """Breaking it into lines changes nothing but the white space."""
    assert json.loads(pretty(value)) == value


def test_limits_in_words() -> None:
    """A bound on a value is told once, and without what only another language's patterns need."""
    bounds = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 2}, {"type": "null"}]}
    assert list(rendering.limits(bounds)) == ["0 to 2"]
    name = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[a-z]+$(?!\n)"}
    assert list(rendering.limits(name)) == ["not empty", "at most 64 characters", "matches `^[a-z]+$`"]
