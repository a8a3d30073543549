"""Writes docs/differences.md's tables: what each provider cannot carry, and what becomes of it.

Nothing of them is written by hand: every request of `PROBES` is put to the codec of every preset, and what it refuses,
drops or changes is what the tables say. The text around them stands in the page itself. `pages` is what
`scripts/reference.py` calls to have it written with the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from pluggably.domain.generation import GenerationRequest, Warned
from pluggably.errors import PluggablyError
from pluggably.plugins import CODECS, Plugins
from pluggably.providers.presets import PRESETS, Preset
from pluggably.testing import codecs
from pluggably.wire.codec import Address

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "differences.md"
BEGIN = "<!-- {}: made by scripts/reference.py from what the codecs do -->"
END = "<!-- end of {} -->"
# Another gateway is handed everything, and says itself what became of it.
HANDS_ON = "pluggably"

CODEC = Plugins(CODECS)

Json: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Literal["refused", "dropped", "changed"]
OUTCOMES: tuple[Outcome, ...] = ("refused", "dropped", "changed")


class Loss(Struct, frozen=True):
    """What became of one thing that was asked, where, and in which words."""

    outcome: Outcome
    pointer: str | None
    detail: str


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────────

TOOL = {"type": "function", "name": "f", "description": "Does it", "input_schema": {"type": "object", "properties": {}}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}
CALL = {"type": "tool_call", "id": "call_000a", "name": "f", "arguments": "{}"}
RESULT = {"type": "tool_result", "tool_call_id": "call_000a", "content": "1"}
PIXEL = {"type": "image", "data": "iVBORw0KGgo=", "media_type": "image/png"}


def _user(content: Any = "Say hi") -> Json:
    return {"role": "user", "content": content}


def _assistant(content: Any = "Hi") -> Json:
    return {"role": "assistant", "content": content}


def _text(text: str = "Say hi") -> Json:
    return {"type": "text", "text": text}


def _with(**parameters: Any) -> Json:
    return {"input": "Say hi", "parameters": parameters}


def _said(*messages: Json, tools: bool = False) -> Json:
    return {"input": list(messages), **({"tools": [TOOL]} if tools else {})}


def _tooled(**fields: Any) -> Json:
    return {"input": "Say hi", "tools": [TOOL], **fields}


def _formed(**form: Any) -> Json:
    return {"input": "Say hi", "response_format": form}


def _schema(schema: Json, **fields: Any) -> Json:
    return {**_formed(type="json_schema", name="answer", schema=schema, strict=False), **fields}


def _called(call: Json = CALL, result: Json = RESULT, *then: Json) -> Json:
    return _said(_user(), _assistant([call]), {"role": "tool", "content": [result]}, *then, tools=True)


# What is in another's tables only where a provider takes that other.
MORE_OF = {
    "`temperature` above 1": "`temperature`",
    "a penalty below 0": "`frequency_penalty`",
    "five `stop` sequences": "`stop`",
    "`reasoning.effort: none`": "`reasoning.effort: high`",
    "`reasoning.effort: minimal`": "`reasoning.effort: high`",
    "`reasoning.effort: xhigh`": "`reasoning.effort: high`",
    "a JSON Schema with `additionalProperties: false`": "`response_format: json_schema`",
    "a JSON Schema with `maxLength`": "`response_format: json_schema`",
    "a JSON Schema with `pattern`": "`response_format: json_schema`",
    "a JSON Schema with `oneOf`": "`response_format: json_schema`",
    "a JSON Schema of a list": "`response_format: json_schema`",
    "a JSON Schema without `required`": "`response_format: json_schema`",
    "a JSON Schema beside `tools`": "`response_format: json_schema`",
    "a PDF without a text": "a PDF",
    "audio in a tool's result": "audio",
}
PROBES: Mapping[str, Json] = {
    # parameters
    "`temperature`": _with(temperature=0.5),
    "`temperature` above 1": _with(temperature=1.5),
    "`top_p`": _with(top_p=0.9),
    "`top_k`": _with(top_k=40),
    "`min_p`": _with(min_p=0.1),
    "`seed`": _with(seed=7),
    "`presence_penalty`": _with(presence_penalty=0.5),
    "`frequency_penalty`": _with(frequency_penalty=0.5),
    "a penalty below 0": _with(frequency_penalty=-0.5),
    "`stop`": _with(stop=["END"]),
    "five `stop` sequences": _with(stop=["A", "B", "C", "D", "E"]),
    "`logprobs`": _with(logprobs=2),
    "`reasoning.effort: high`": _with(reasoning={"effort": "high"}),
    "`reasoning.effort: none`": _with(reasoning={"effort": "none"}),
    "`reasoning.effort: minimal`": _with(reasoning={"effort": "minimal"}),
    "`reasoning.effort: xhigh`": _with(reasoning={"effort": "xhigh"}),
    # tools
    "`tools`": _tooled(),
    "`tool_choice: none`": _tooled(tool_choice="none"),
    "`tool_choice: required`": _tooled(tool_choice="required"),
    "`tool_choice: {name: …}`": _tooled(tool_choice={"name": "f"}),
    "`parallel_tool_calls: false`": _tooled(parallel_tool_calls=False),
    "a tool whose name begins with a digit": {"input": "Say hi", "tools": [{**TOOL, "name": "3d_view"}]},
    "a tool's schema with `pattern`": {
        "input": "Say hi",
        "tools": [{**TOOL, "input_schema": {**SCHEMA, "properties": {"n": {"type": "string", "pattern": "^a"}}}}],
    },
    # the form of the answer
    "`response_format: json`": _formed(type="json"),
    "`response_format: json_schema`": _schema(SCHEMA),
    "a JSON Schema with `additionalProperties: false`": _schema({**SCHEMA, "additionalProperties": False}),
    "a JSON Schema with `maxLength`": _schema({**SCHEMA, "properties": {"n": {"type": "string", "maxLength": 9}}}),
    "a JSON Schema with `pattern`": _schema({**SCHEMA, "properties": {"n": {"type": "string", "pattern": "^a"}}}),
    "a JSON Schema with `oneOf`": _schema(
        {**SCHEMA, "properties": {"n": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}}
    ),
    "a JSON Schema without `required`": _schema({"type": "object", "properties": {"n": {"type": "string"}}}),
    "a JSON Schema of a list": _schema({"type": "array", "items": {"type": "string"}}),
    "a JSON Schema beside `tools`": _schema(SCHEMA, tools=[TOOL]),
    # messages
    "a system message after the first answer": _said(
        _user(), _assistant(), {"role": "system", "content": "Be brief."}, _user()
    ),
    "a conversation that the assistant begins": _said(_assistant(), _user()),
    "an assistant's message at the end, to be continued": _said(_user(), _assistant()),
    "two messages of one role": _said(_user(), _user("And again")),
    "a message without content": _said(_user(), _assistant(""), _user()),
    "a user's message right after a tool's result": _called(CALL, RESULT, _user("And again")),
    "a tool call with an id of another provider": _called(
        {**CALL, "id": "functions.f:0"}, {**RESULT, "tool_call_id": "functions.f:0"}
    ),
    "a tool call whose arguments are no JSON": _called({**CALL, "arguments": "{"}),
    "a conversation with tool calls, without `tools`": _said(
        _user(), _assistant([CALL]), {"role": "tool", "content": [RESULT]}
    ),
    "only system messages": _said({"role": "system", "content": "Be brief."}),
    # images, files and audio
    "an image": _said(_user([_text(), PIXEL])),
    "images between texts": _said(_user([_text(), PIXEL, _text("or"), PIXEL])),
    "a PDF": _said(_user([_text(), {"type": "file", "data": "JVBERi0=", "media_type": "application/pdf"}])),
    "a PDF without a text": _said(_user([{"type": "file", "data": "JVBERi0=", "media_type": "application/pdf"}])),
    "audio": _said(_user([_text(), {"type": "audio", "data": "UklGRg==", "media_type": "audio/wav"}])),
    "an image in a tool's result": _called(CALL, {**RESULT, "content": [PIXEL]}),
    "audio in a tool's result": _called(
        CALL, {**RESULT, "content": [{"type": "audio", "data": "UklGRg==", "media_type": "audio/wav"}]}
    ),
    # from another provider
    "reasoning with another's `provider_state`": _said(
        _user(),
        _assistant(
            [{"type": "reasoning", "text": "Hm", "provider_state": {"provider": "another", "data": {}}}, _text("Hi")]
        ),
        _user(),
    ),
    "reasoning without a `provider_state`": _said(
        _user(), _assistant([{"type": "reasoning", "text": "Hm"}, _text("Hi")]), _user()
    ),
    "another's `provider_item`": _said(
        _user(),
        _assistant([_text("Hi"), {"type": "provider_item", "provider": "another", "data": {"type": "x"}}]),
        _user(),
    ),
}


# ── what becomes of it ──────────────────────────────────────────────────────────────────────────────────────────────


def model_of(name: str) -> str:
    """The model that the provider's page asks for. Raises: ValueError where it asks for none."""
    found = re.search(rf'"model": "{re.escape(name)}/([^"]+)"', (DOCS / "providers" / f"{name}.md").read_text("utf-8"))
    if found is None:
        raise ValueError(f"docs/providers/{name}.md asks for no model")
    return found[1]


def losses(name: str, preset: Preset, asked: Json) -> list[Loss]:
    """What a provider makes of a request, as the gateway would find out before it calls it."""
    model = model_of(name)
    rule = next((rule for rule in preset.codec_rules if re.match(rule.models, model)), preset)
    codec = codecs.make(CODEC[rule.codec], rule.options)
    request: GenerationRequest = codecs.generation_request(asked)
    address = Address(base_url="https://vendor.test", model=model, backend=name, stream=False)
    try:
        events = codec.begin(request, address).events
    except PluggablyError as error:
        return [Loss("refused", error.pointer, error.detail)]
    warnings = [event.warning for event in events if isinstance(event, Warned)]
    return [
        Loss("changed" if one.code == "parameter_changed" else "dropped", one.parameter, one.detail) for one in warnings
    ]


def everything() -> dict[str, dict[str, list[Loss]]]:
    """what is asked → provider → what becomes of it."""
    return {
        asked: {name: losses(name, preset, request) for name, preset in PRESETS.items() if name != HANDS_ON}
        for asked, request in PROBES.items()
    }


def told(found: Mapping[str, Mapping[str, list[Loss]]]) -> dict[str, dict[str, list[Loss]]]:
    """The same without what follows from another row."""
    return {
        asked: {name: lost for name, lost in by.items() if not (asked in MORE_OF and found[MORE_OF[asked]][name])}
        for asked, by in found.items()
    }


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


def pages() -> dict[Path, str]:
    found = told(everything())
    text = PAGE.read_text("utf-8")
    for title, table in (("what is asked", _by_what_is_asked(found)), ("providers", _by_provider(found))):
        begin, end = BEGIN.format(title), END.format(title)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{PAGE} must have one line {begin} and, below it, one line {end}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return {PAGE: text}


def _by_what_is_asked(found: Mapping[str, Mapping[str, list[Loss]]]) -> str:
    rows = ["| what is asked | refused by | dropped by | changed by |", "|---|---|---|---|"]
    carried = []
    for asked, by in found.items():
        cells = [
            _names([name for name, lost in by.items() if any(one.outcome == outcome for one in lost)])
            for outcome in ("refused", "dropped")
        ]
        cells.append(_changes(by))
        if any(cells):
            rows.append(f"| {asked} | {' | '.join(cells)} |")
        else:
            carried.append(asked)
    return "\n".join([*rows, "", f"All of them take: {'; '.join(carried)}."])


def _changes(by: Mapping[str, Iterable[Loss]]) -> str:
    """Who changes it, in the words in which clients are told."""
    names: dict[str, list[str]] = {}
    for name, lost in by.items():
        for one in lost:
            if one.outcome == "changed":
                names.setdefault(one.detail.removeprefix(f"{name} "), []).append(name)
    return "<br>".join(f"{_names(who)}: {words}" for words, who in names.items())


def _by_provider(found: Mapping[str, Mapping[str, Iterable[Loss]]]) -> str:
    rows = ["| provider | model | refuses | drops | changes |", "|---|---|---|---|---|"]
    for name, preset in sorted(PRESETS.items(), key=lambda row: row[1].title.lower()):
        if name == HANDS_ON:
            continue
        cells = [
            "; ".join(asked for asked, by in found.items() if any(one.outcome == outcome for one in by.get(name, ())))
            for outcome in OUTCOMES
        ]
        rows.append(f"| [{preset.title}](providers/{name}.md) | `{model_of(name)}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def _names(names: list[str]) -> str:
    others = [name for name in PRESETS if name not in names and name != HANDS_ON]
    if names and len(others) * 2 < len(names):
        return "all but " + ", ".join(f"`{name}`" for name in others) if others else "all"
    return ", ".join(f"`{name}`" for name in names)
