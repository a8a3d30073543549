"""Writes the reference pages of the API, its errors, the metrics and the log fields, and `openapi.json`, from the code.

python scripts/reference_api.py            write them
python scripts/reference_api.py --check    write nothing; exit 1 where one is not current

`pages` is what `scripts/reference.py` calls to have them written with the others.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pluggably import __version__
from pluggably.api import rendering
from pluggably.api.documents import Documents
from pluggably.api.generations import Generations
from pluggably.api.openapi import openapi_document
from pluggably.api.rendering import Operation, Row, Word
from pluggably.api.resources import Keys, Models, Operations
from pluggably.api.routes import routes
from pluggably.telemetry.logs import FIELDS
from pluggably.telemetry.metrics import Metrics

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
T = TypeVar("T")


def pages() -> dict[Path, str]:
    """path → text of every page that this script writes."""
    api = document()
    return {
        FOLDER / "api.md": _text(api_page(api)),
        FOLDER / "errors.md": _text(errors_page(api)),
        FOLDER / "metrics.md": _text(metrics_page(Metrics())),
        FOLDER / "logs.md": _text(logs_page(FIELDS)),
        FOLDER / "openapi.json": json.dumps(api, indent=2, ensure_ascii=False) + "\n",
    }


def document() -> dict[str, Any]:
    """The OpenAPI document of the route table. No handler is called, so none needs what it works with."""
    handlers = (_idle(Generations), _idle(Models), _idle(Keys), _idle(Operations), Documents(__version__))
    return openapi_document(routes(*handlers), __version__)


def _idle(kind: type[T]) -> T:
    return kind.__new__(kind)


def _text(lines: Iterable[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _cell(text: str) -> str:
    """Text that may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    body = [[_cell(cell) for cell in row] for row in rows]
    # A column that says nothing anywhere is left out.
    kept = [i for i, name in enumerate(head) if not body or any(row[i] for row in body)]
    yield "| " + " | ".join(head[i] for i in kept) + " |"
    yield "|" + "---|" * len(kept)
    for row in body:
        yield "| " + " | ".join(row[i] for i in kept) + " |"
    yield ""


def _made_from(*sources: str) -> str:
    named = " and ".join(f"src/pluggably/{source}" for source in sources)
    return f"<!-- Made by scripts/reference.py from {named}; change it there. -->\n"


def _fence(language: str, text: str) -> Iterator[str]:
    yield f"```{language}\n{text}\n```\n"


# ── the API ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def api_page(document: Mapping[str, Any]) -> Iterator[str]:
    operations = list(rendering.operations(document))
    yield "# The API\n"
    yield _made_from("api/routes.py", "api/reference.py")
    yield document["info"]["description"] + "\n"
    yield "A running gateway has this page at `/docs` and the document behind it at `/openapi.json`, open to anyone;"
    yield "[openapi.json](openapi.json) is the same file. Errors have [a page of their own](errors.md).\n"
    yield from _table(
        ("operation", "does", "scope"),
        (
            (f"[`{o.method} {o.path}`](#{_anchor(o.content['summary'])})", o.content["summary"], _scopes(o))
            for o in operations
        ),
    )
    for tag in document["tags"]:
        yield f"## {tag['name']}\n\n{tag['description']}\n"
        for operation in operations:
            if tag["name"] in operation.content["tags"]:
                yield from _operation(document, operation)
    for operation in operations:
        yield from _events(document, operation)
    yield from _types(document)


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _scopes(operation: Operation) -> str:
    scopes = ", ".join(f"`{scope}`" for scope in operation.scopes)
    if {} in operation.content["security"]:
        return f"{scopes} or open"
    return scopes or "open"


def _operation(document: Mapping[str, Any], operation: Operation) -> Iterator[str]:
    content = operation.content
    yield f"### {content['summary']}\n"
    yield from _fence("http", f"{operation.method} {operation.path}")
    yield content["description"] + "\n"
    parameters = content.get("parameters", ())
    if parameters:
        yield from _table(
            ("parameter", "in", "type", "meaning"),
            (_parameter(place["in"], rendering.parameter_row(place)) for place in parameters),
        )
    if operation.body is not None:
        yield f"Body: {_link(operation.body['schema'])}\n"
        yield from _fields(document["components"]["schemas"][_name(operation.body["schema"])])
    yield from _answers(operation)
    codes = rendering.problem_codes(operation)
    if codes:
        told = "; ".join(
            f"{status} " + ", ".join(f"[`{code}`](errors.md#{code})" for code in codes[status]) for status in codes
        )
        yield f"Errors: {told}.\n"
    yield from _examples(operation)


def _parameter(place: str, row: Row) -> tuple[str, str, str, str]:
    return f"`{row.name}`", place, _type(row), row.description


def _answers(operation: Operation) -> Iterator[str]:
    for status, response in operation.content["responses"].items():
        if "x-codes" in response or "$ref" in response:
            continue
        forms = [
            f"{_link(media['schema'])} (`{kind}`)" if "$ref" in media["schema"] else f"`{kind}`"
            for kind, media in response.get("content", {}).items()
        ]
        yield f"Answer: {status}{', ' + ' or '.join(forms) if forms else ''}. {response['description']}\n"


def _examples(operation: Operation) -> Iterator[str]:
    if operation.body is None:
        yield from _fence("sh", rendering.curl(operation))
    else:
        for example in operation.body.get("examples", {}).values():
            yield f"{example['summary']}:\n"
            yield from _fence("sh", rendering.curl(operation, example["value"]))
    for response in operation.content["responses"].values():
        media = response.get("content", {}).get("application/json", {})
        example = rendering.first_example(media)
        if example is not None:
            yield "answers\n"
            yield from _fence("json", rendering.pretty(example))


def _events(document: Mapping[str, Any], operation: Operation) -> Iterator[str]:
    media = operation.event_stream
    if media is None:
        return
    schema = media["schema"]
    choice = document["components"]["schemas"][_name(schema["properties"]["data"]["contentSchema"])]["discriminator"][
        "mapping"
    ]
    yield "## The stream of events\n"
    yield schema["description"].partition("\n\n")[2] + "\n"
    yield from _table(
        ("event", "when", "data"),
        ((f"`{event}`", media["x-events"][event], _link({"$ref": ref})) for event, ref in choice.items()),
    )
    yield from _fence("text", media["x-example"].strip())


def _types(document: Mapping[str, Any]) -> Iterator[str]:
    yield "## Types\n\nEvery object of the API, by name.\n"
    for name, schema in document["components"]["schemas"].items():
        yield f"### {name}\n"
        yield schema.get("description", "") + "\n"
        if "properties" in schema:
            yield from _fields(schema)
        else:
            yield "One of " + ", ".join(_component(variant) for variant in rendering.variants(schema)) + ".\n"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    rows = rendering.rows(schema)
    if rows:
        yield from _table(
            ("field", "type", "", "meaning"),
            ((f"`{row.name}`", _type(row), "required" if row.required else "", row.description) for row in rows),
        )


def _type(row: Row) -> str:
    words = "".join(_word(word) for word in row.words)
    limits = [*row.limits, *([f"default `{row.default}`"] if row.default is not None else [])]
    return f"{words}; {'; '.join(limits)}" if limits else words


def _word(word: Word) -> str:
    return _component(word.component) if word.component else word.text


def _component(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).removeprefix(rendering.SCHEMA_REF)


def _link(schema: Mapping[str, Any]) -> str:
    return _component(_name(schema))


# ── errors, metrics, logs ───────────────────────────────────────────────────────────────────────────────────────────


def errors_page(document: Mapping[str, Any]) -> Iterator[str]:
    errors = document["x-errors"]
    yield "# Errors\n"
    yield _made_from("errors.py", "api/reference.py")
    yield (
        "Every error is `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)), and so is the "
        "`error` of a failed generation; its fields are those of [Problem](api.md#problem). A program reads `code`, a "
        "person reads `detail`, and whoever reports it names `request_id`: the log has more under it. Where you do not "
        "know a code, go by `status`.\n"
    )
    yield (
        "*Again* says whether the same request may succeed later (`retryable` in the answer), *elsewhere* whether "
        "another model or provider may do it now.\n"
    )
    yield from _table(
        ("status", "code", "meaning", "again", "elsewhere"),
        (
            (
                str(error["status"]),
                f"[`{error['code']}`](#{error['code']})",
                error["title"],
                "yes" if error["again"] else "",
                "yes" if error["elsewhere"] else "",
            )
            for error in errors
        ),
    )
    for error in errors:
        yield f"## {error['code']}\n"
        meaning = f"**{error['status']}. {error['title']}.** {error['description']}"
        yield f"{meaning.strip()}\n"
        yield error["advice"] + "\n"


def metrics_page(metrics: Metrics) -> Iterator[str]:
    yield "# Metrics\n"
    yield _made_from("telemetry/metrics.py")
    yield (
        "`GET /metrics` answers in Prometheus' text format. It needs a key with the scope `metrics`, unless the config "
        "opens it. Every label has a bounded set of values: `backend` is a provider or a local model of the config, "
        "`route` a method and a path's template, `code` one of the [errors](errors.md). Times are in seconds, sizes in "
        "bytes. A histogram is three series: `_bucket`, `_sum` and `_count`.\n"
    )
    rows = []
    for metric in vars(metrics).values():
        if not hasattr(metric, "describe"):
            continue
        family, names = metric.describe()[0], getattr(metric, "label_names", None) or metric._labelnames
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in names)
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    yield from _table(("metric", "type", "labels", "meaning"), rows)


def logs_page(fields: Mapping[str, str]) -> Iterator[str]:
    yield "# Logs\n"
    yield _made_from("telemetry/logs.py")
    yield (
        "One line an event, to standard error: JSON where that is a pipe or a file, text on a terminal (`log` in the "
        "[config](config.md)). No prompt, no answer and no secret is ever logged, but at the level `debug`: that tells "
        "the text of exceptions, and the last lines of a model's process that ended (`worker_output`), and either may "
        "quote a request. These fields mean the same in every line that has them; an event may have more of its own.\n"
    )
    yield from _table(("field", "meaning"), ((f"`{name}`", meaning) for name, meaning in fields.items()))


def main() -> int:
    is_check = "--check" in sys.argv[1:]
    stale = {path: text for path, text in pages().items() if not path.is_file() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if is_check:
            sys.stderr.write(f"{path.relative_to(FOLDER.parent.parent)} is not current: run scripts/reference.py\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
