"""The reference of the API as one page, made on the server from the OpenAPI document.

The page loads nothing: its style and its few lines of script stand in it, and the policy that goes out with it
forbids everything else. Whatever comes out of the document is escaped here, in `_text` and in `_prose`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pluggably.api import rendering
from pluggably.api.docs_style import SCRIPT, STYLE
from pluggably.api.rendering import Operation, Row, Word

# An object inside an object is shown in place down to this depth, further down by a link.
NESTED = 3
# A choice of more objects than this is shown by links.
SHOWN_VARIANTS = 3

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%233553d1'/%3E"
    "%3Cpath d='M5 13V3h4a3 3 0 010 6H5' fill='none' stroke='white' stroke-width='2'/%3E%3C/svg%3E"
)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; script-src 'sha256-{_hash(SCRIPT)}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def docs_page(document: Mapping[str, Any]) -> str:
    """The page of one document."""
    return "".join(_Page(document).render())


def _text(value: object) -> str:
    return escape(str(value))


def _inline(text: str) -> str:
    """Prose with code in backticks."""
    pieces = _text(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


_JSON = re.compile(
    r'(?P<k>"(?:[^"\\]|\\.)*"(?=\s*:))|(?P<s>"(?:[^"\\]|\\.)*")|(?P<l>\b(?:true|false|null|-?\d[\d.eE+-]*)\b)'
)


def _coloured(text: str) -> str:
    """JSON, alone or at the end of a command line, with its strings, names and literals marked."""
    out, end = [], 0
    for match in _JSON.finditer(text):
        out.append(_text(text[end : match.start()]))
        out.append(f'<span class="{match.lastgroup}">{_text(match[0])}</span>')
        end = match.end()
    return "".join(out) + _text(text[end:])


def _block(text: str, *, coloured: bool = True) -> str:
    shown = _coloured(text) if coloured else _text(text)
    return f'<div class="block"><pre tabindex="0"><code>{shown}</code></pre></div>'


def _command(command: str) -> str:
    """A command line: only what stands behind `-d` is JSON."""
    head, option, body = command.partition("-d '")
    shown = _text(head + option) + _coloured(body)
    return f'<div class="block"><pre tabindex="0"><code>{shown}</code></pre></div>'


def _words(words: Iterable[Word]) -> str:
    return "".join(
        f'<a href="#type-{_text(word.component)}">{_text(word.text)}</a>' if word.component else _text(word.text)
        for word in words
    )


class _Page:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._schemas: Mapping[str, Any] = document["components"]["schemas"]
        self._operations = list(rendering.operations(document))
        self._stream = next((o for o in self._operations if o.event_stream is not None), None)

    def render(self) -> Iterable[str]:
        info = self._document["info"]
        title = f"{_text(info['title'])} API"
        yield (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{title}</title>"
            f'<link rel="icon" href="{ICON}"><style>{STYLE}</style></head><body>'
            '<a class="skip" href="#start">To the text</a><div class="frame">'
        )
        yield self._side()
        yield f'<main id="start"><section><h1>{title}</h1><p class="lead">{_text(info["summary"])}</p>'
        yield f'<p><span class="chip">version {_text(info["version"])}</span> '
        yield '<a class="chip" href="/openapi.json">openapi.json</a></p>'
        yield _prose(info["description"])
        yield self._quick_start()
        yield "</section>"
        for tag in self._document["tags"]:
            yield self._group(tag)
        if self._stream is not None:
            yield self._events(self._stream)
        yield self._errors()
        yield self._types()
        yield f"</main></div><script>{SCRIPT}</script></body></html>"

    # ── around ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _side(self) -> str:
        groups = "".join(
            f'<div class="group">{_text(tag["name"])}</div><ul>'
            + "".join(
                f'<li><a href="#{_text(o.id)}"><span class="method {o.method}">{o.method}</span>'
                f"<span>{_inline(o.content['summary'])}</span></a></li>"
                for o in self._tagged(tag["name"])
            )
            + "</ul>"
            for tag in self._document["tags"]
        )
        more = '<li><a href="#events">The stream of events</a></li>' if self._stream is not None else ""
        return (
            '<header class="side"><a class="brand" href="#start">Pluggably</a>'
            '<input class="menu" type="checkbox" id="menu"><label class="menu-label" for="menu">Contents</label>'
            f'<nav aria-label="Contents">{groups}<div class="group">Everywhere</div><ul>{more}'
            '<li><a href="#errors">Errors</a></li><li><a href="#types">Types</a></li></ul></nav></header>'
        )

    def _tagged(self, tag: str) -> list[Operation]:
        return [operation for operation in self._operations if tag in operation.content["tags"]]

    def _quick_start(self) -> str:
        first = self._stream or next((o for o in self._operations if o.body is not None), None)
        if first is None or first.body is None:
            return ""
        command = rendering.curl(first, rendering.first_example(first.body))
        return f"<h4>Try it</h4>{_command(command)}"

    # ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _group(self, tag: Mapping[str, str]) -> str:
        shown = "".join(self._operation(operation) for operation in self._tagged(tag["name"]))
        return (
            f'<section><h2>{_text(tag["name"])}</h2><p class="lead">{_inline(tag["description"])}</p>{shown}</section>'
        )

    def _operation(self, operation: Operation) -> str:
        content = operation.content
        optional = {} in content["security"]
        scopes = "".join(
            f'<span class="chip">scope {_text(scope)}{" (or open)" if optional else ""}</span>'
            for scope in operation.scopes
        )
        credential = scopes or (_ANY_KEY if operation.needs_key else _OPEN)
        # The scope has a mark of its own here, so its line of the description is left out.
        description = re.sub(r"\n*Scope: `[^`]*`\.$", "", content["description"])
        return (
            f'<article class="operation" id="{_text(operation.id)}">'
            f'<h3><a href="#{_text(operation.id)}">{_inline(content["summary"])}</a></h3>'
            f'<div class="call"><span class="method {operation.method}">{operation.method}</span>'
            f'<span class="path">{_text(operation.path)}</span>{credential}</div>'
            f"{_prose(description)}{self._parameters(operation)}{self._body(operation)}"
            f"{self._answers(operation)}{self._problems(operation)}{self._examples(operation)}</article>"
        )

    def _parameters(self, operation: Operation) -> str:
        shown = ""
        for place, title in (("path", "In the path"), ("query", "In the query"), ("header", "Headers")):
            given = [p for p in operation.content.get("parameters", ()) if p["in"] == place]
            if given:
                rows = "".join(self._row(rendering.parameter_row(p), NESTED, ()) for p in given)
                shown += f'<h4>{title}</h4><div class="rows">{rows}</div>'
        return shown

    def _body(self, operation: Operation) -> str:
        if operation.body is None:
            return ""
        name = _component(operation.body["schema"])
        return f"<h4>Body</h4>{self._fields(name, 0, (name,))}"

    def _answers(self, operation: Operation) -> str:
        shown = ""
        for status, response in operation.content["responses"].items():
            if "x-codes" not in response and "$ref" not in response:
                kinds = ", ".join(f"<code>{_text(kind)}</code>" for kind in response.get("content", ()))
                details = "".join(self._answer(media) for media in response.get("content", {}).values())
                shown += (
                    f'<ul class="codes"><li><span class="status">{_text(status)}</span>'
                    f"<span>{_inline(response['description'])} {kinds}</span></li></ul>{details}"
                )
        return f"<h4>Answer</h4>{shown}"

    def _answer(self, media: Mapping[str, Any]) -> str:
        schema = media["schema"]
        if "x-events" in media:
            return '<p class="note">With <code>stream: true</code>: <a href="#events">the stream of events</a>.</p>'
        if "$ref" not in schema:
            return f'<p class="note">{_inline(schema["description"])}</p>' if "description" in schema else ""
        name = _component(schema)
        return self._folded(name) + "".join(
            f'<details class="example"><summary>Example: {_text(example["summary"])}</summary>'
            f"{_block(rendering.pretty(example['value']))}</details>"
            for example in media.get("examples", {}).values()
        )

    def _folded(self, name: str) -> str:
        fields = self._fields(name, 1, (name,))
        return f'<details class="answer"><summary>Fields of {_text(name)}</summary>{fields}</details>'

    def _problems(self, operation: Operation) -> str:
        found = rendering.problem_codes(operation)
        shared = " ".join(_code_link(code) for code in rendering.shared_codes(self._document))
        rows = "".join(
            f'<li><span class="status">{_text(status)}</span><span class="names">'
            + " ".join(_code_link(code) for code in codes)
            + "</span></li>"
            for status, codes in found.items()
        )
        listed = f'<ul class="codes">{rows}</ul>' if rows else ""
        return f'<h4>Errors</h4>{listed}<p class="note">Like any operation: {shared}</p>'

    def _examples(self, operation: Operation) -> str:
        if operation.body is None:
            return f"<h4>Example</h4>{_command(rendering.curl(operation))}"
        examples = list(operation.body.get("examples", {}).values())
        if len(examples) == 1:
            return f"<h4>Example</h4>{_command(rendering.curl(operation, examples[0]['value']))}"
        shown = "".join(
            f'<details class="example"{"" if i else " open"}><summary>{_text(example["summary"])}</summary>'
            f"{_command(rendering.curl(operation, example['value']))}</details>"
            for i, example in enumerate(examples)
        )
        return f"<h4>Examples</h4>{shown}"

    # ── fields ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fields(self, name: str, depth: int, path: tuple[str, ...]) -> str:
        rows = rendering.rows(self._schemas[name])
        if not rows:
            return '<p class="note">An object.</p>'
        return f'<div class="rows">{"".join(self._row(row, depth, path) for row in rows)}</div>'

    def _row(self, row: Row, depth: int, path: tuple[str, ...]) -> str:
        must = '<span class="must">required</span>' if row.required else ""
        limits = [*row.limits, *([f"default `{row.default}`"] if row.default is not None else [])]
        told = f' <span class="limits">{_inline("; ".join(limits))}</span>' if limits else ""
        described = f"<p>{_inline(row.description)}</p>" if row.description else ""
        return (
            f'<div class="row"><div class="name">{_text(row.name)}{must}</div>'
            f'<div><span class="type">{_words(row.words)}</span>{told}{described}</div>'
            f"{self._nested(row.components, depth, path)}</div>"
        )

    def _nested(self, components: Sequence[str], depth: int, path: tuple[str, ...]) -> str:
        """The fields of the objects that a field may hold, where they can be shown in place."""
        if depth >= NESTED or len(components) > SHOWN_VARIANTS:
            return ""
        return "".join(
            f'<details class="inner"><summary>Fields of {_text(name)}</summary>'
            f"{self._fields(name, depth + 1, (*path, name))}</details>"
            for name in components
            if name not in path and self._schemas[name].get("properties", {}).keys() - {"type"}
        )

    # ── everywhere ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _events(self, operation: Operation) -> str:
        media = operation.event_stream or {}
        notes = media["schema"]["description"].split("\n\n", 1)[-1]
        choice = self._schemas[_component(media["schema"]["properties"]["data"]["contentSchema"])]
        moments = media["x-events"]
        rows = ""
        for event, ref in choice["discriminator"]["mapping"].items():
            name = ref.removeprefix(rendering.SCHEMA_REF)
            rows += (
                f'<div class="row"><div class="name">{_text(event)}</div>'
                f"<div><p>{_inline(moments[event])}</p></div>"
                f"{self._nested((name,), 1, ())}</div>"
            )
        return (
            f'<section id="events"><h2>The stream of events</h2>{_prose(notes)}'
            f'<h4>Events</h4><div class="rows">{rows}</div>'
            f"<h4>Example</h4>{_block(media['x-example'].strip())}</section>"
        )

    def _errors(self) -> str:
        rows = "".join(self._error(error) for error in self._document["x-errors"])
        return (
            '<section id="errors"><h2>Errors</h2>'
            "<p>Every error is <code>application/problem+json</code> (RFC 9457), and so is the <code>error</code> of a "
            "failed generation. A program reads <code>code</code>; a person reads <code>detail</code>.</p>"
            f"{self._folded('Problem')}"
            f'<h4>Codes</h4><div class="rows">{rows}</div></section>'
        )

    def _error(self, error: Mapping[str, Any]) -> str:
        described = f"<p>{_inline(error['description'])}</p>" if error["description"] else ""
        marks = "".join(
            f' <span class="chip">{mark}</span>'
            for key, mark in (("again", "may succeed later"), ("elsewhere", "another model may serve"))
            if error[key]
        )
        return (
            f'<div class="error" id="error-{_text(error["code"])}"><div class="status">{_text(error["status"])}</div>'
            f"<div><code>{_text(error['code'])}</code>{marks}<p>{_text(error['title'])}.</p>{described}"
            f"<p>{_inline(error['advice'])}</p></div></div>"
        )

    def _types(self) -> str:
        shown = "".join(self._type(name, schema) for name, schema in self._schemas.items())
        return (
            f'<section id="types"><h2>Types</h2><p class="lead">Every object of the API, by name.</p>{shown}</section>'
        )

    def _type(self, name: str, schema: Mapping[str, Any]) -> str:
        if "properties" in schema:
            fields = self._fields(name, NESTED, (name,))
        else:
            choices = " or ".join(_words([Word(choice, choice)]) for choice in rendering.variants(schema))
            fields = f'<p class="type">{choices}</p>'
        description = _prose(schema.get("description", ""))
        return f'<div class="kind" id="type-{_text(name)}"><h3>{_text(name)}</h3>{description}{fields}</div>'


_ANY_KEY = '<span class="chip">any valid key</span>'
_OPEN = '<span class="chip">open to anyone</span>'


def _code_link(code: str) -> str:
    return f'<a href="#error-{_text(code)}"><code>{_text(code)}</code></a>'


def _component(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).removeprefix(rendering.SCHEMA_REF)
