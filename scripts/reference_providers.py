"""Writes what the presets say where others read it: the index of docs/providers, a table of facts in each page there,
and in compose.yaml the variables that a container is to get.

A provider's page is written by hand around its table, which stands between the two marks; a preset without a page gets
one to begin with. `pages` is what `scripts/reference.py` calls to have them written with the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pluggably.plugins import CODECS, Plugins
from pluggably.providers.presets import PRESETS, Preset
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.codecs.openai_responses.options import ResponsesOptions
from pluggably.wire.lacks import COMMON_EFFORTS

FOLDER = Path(__file__).parent.parent / "docs" / "providers"
COMPOSE = Path(__file__).parent.parent / "compose.yaml"
VARIABLES_BEGIN = "      # variables of the presets: made by scripts/reference.py\n"
VARIABLES_END = "      # end of variables\n"
BEGIN = "<!-- facts: made by scripts/reference.py from the preset; change them there -->"
END = "<!-- end of facts -->"
# Our parameters, as a request names them; what is not here is named as it is.
PLACES = {
    "reasoning": "reasoning.effort",
    "named_tool": "tool_choice: {name: …}",
    "required_tool": "tool_choice: required",
    "json": "response_format: json",
    "json_schema": "response_format: json_schema",
}
REFUSED = (
    "stop",
    "tools",
    "tool_choice",
    "named_tool",
    "required_tool",
    "json",
    "json_schema",
    "dimensions",
    "embeddings",
)
# Of no server, since the wire has no field for them.
LACKS_OF_THE_RESPONSES_WIRE = (
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "embeddings",
)
# Fields of an effort that only turn reasoning on and off.
SWITCHES = ("thinking", "enable_thinking")
INPUTS = {
    "image": "images as `data`",
    "image_url": "images by URL",
    "file": "files as `data`",
    "file_url": "files by URL",
    "audio": "audio as `data`",
}


def pages() -> dict[Path, str]:
    """path → text of every page that this script writes."""
    written = {FOLDER / "index.md": index(), COMPOSE: with_variables(COMPOSE.read_text("utf-8"))}
    for name, preset in PRESETS.items():
        path = FOLDER / f"{name}.md"
        written[path] = with_facts(path.read_text("utf-8") if path.is_file() else _beginning(preset), name, preset)
    return written


def index() -> str:
    rows = [
        f"| [{preset.title}]({name}.md) | `{name}` | {_key(preset)} | {'yes' if preset.free_tier else ''} |"
        for name, preset in sorted(PRESETS.items(), key=lambda row: row[1].title.lower())
    ]
    return "\n".join(
        [
            "# Providers",
            "",
            "<!-- Made by scripts/reference.py from src/pluggably/providers/presets; change it there. -->",
            "",
            "A provider in this table needs no more than its key: set the variable and start the gateway, and its",
            "models are asked for as `<preset>/<the provider's own name for the model>`. What needs more says so in",
            "its page. Any other service that speaks OpenAI's wire is an entry in the [config](../reference/config.md)",
            "with `codec: openai` and its `base_url`.",
            "",
            "| provider | preset | key | has a free tier |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def with_variables(text: str) -> str:
    """compose.yaml with every variable of a preset. Raises: ValueError where it has no place for them."""
    if text.count(VARIABLES_BEGIN) != 1 or text.count(VARIABLES_END) != 1:
        raise ValueError("compose.yaml must have one line each that begins and ends the variables of the presets")
    names = {preset.key_env for preset in PRESETS.values()}
    names |= {variable.env for preset in PRESETS.values() for variable in preset.variables.values()}
    lines = "".join(f"      {name}:\n" for name in sorted(filter(None, names)))
    before, _, rest = text.partition(VARIABLES_BEGIN)
    _, _, after = rest.partition(VARIABLES_END)
    return f"{before}{VARIABLES_BEGIN}{lines}{VARIABLES_END}{after}"


def with_facts(page: str, name: str, preset: Preset) -> str:
    """The page with its table as the preset has it now. Raises: ValueError where the page has no place for it."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"docs/providers/{name}.md must have one line {BEGIN} and, below it, one line {END}")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{facts(name, preset)}\n{END}{after}"


def facts(name: str, preset: Preset) -> str:
    rows = [("preset", f"`{name}`"), ("key", _key(preset))]
    rows += [
        (f"variable `{gap}`", _variable(variable.means, variable.env, variable.default))
        for gap, variable in preset.variables.items()
    ]
    rows.append(("address", f"`{preset.base_url}`"))
    rows.append(("wire", f"`{preset.codec}`"))
    rows += [("wire", f"`{rule.codec}` for models that match `{_cell(rule.models)}`") for rule in preset.codec_rules]
    options = msgspec.convert(msgspec.to_builtins(preset.options), Plugins(CODECS)[preset.codec].Options)
    if hasattr(options, "inputs"):
        rows.append(("takes beside text", _list(INPUTS[one] for one in options.inputs) or "nothing"))
    limits = _embedding_limits(options)
    if limits:
        rows.append(("embeddings in one call", f"{limits}; more become several calls"))
    if isinstance(options, (OpenAIOptions, ResponsesOptions)):
        rows += _openai_facts(options)
    rows.append(("its documentation", f"<{preset.docs}>, read on {preset.checked}"))
    return "\n".join(["| | |", "|---|---|", *(f"| {left} | {right} |" for left, right in rows)])


def _embedding_limits(options: object) -> str:
    """What one call for embeddings may bring; empty where there are none, or no limit is known."""
    if "embeddings" in getattr(options, "lacks", ()):
        return ""
    texts, tokens = (getattr(options, f"{what}_per_call", None) for what in ("texts", "tokens"))
    limits = [f"{texts:,} texts"] if texts is not None else []
    return ", ".join([*limits, f"{tokens:,} tokens in all"] if tokens is not None else limits)


def _openai_facts(options: OpenAIOptions | ResponsesOptions) -> list[tuple[str, str]]:
    rows = []
    lacks: tuple[str, ...] = options.lacks
    if isinstance(options, ResponsesOptions):
        lacks += LACKS_OF_THE_RESPONSES_WIRE
    dropped = [_place(lack) for lack in lacks if lack not in REFUSED]
    refused = [_place(lack) for lack in lacks if lack in REFUSED]
    if isinstance(options, OpenAIOptions) and options.stop_limit is not None:
        refused.append(f"more than {options.stop_limit} `stop` sequences")
    rows.append(("dropped with a warning", _list(dropped) or "nothing"))
    rows.append(("refused", _list(refused) or "nothing"))
    effort_field = options.effort_field if isinstance(options, OpenAIOptions) else "reasoning"
    if options.efforts != COMMON_EFFORTS or effort_field in SWITCHES:
        rows.append(("efforts", _efforts(effort_field, options.efforts)))
    for rule in options.model_rules:
        parts = []
        for what, lacks in (
            ("dropped", [lack for lack in rule.lacks if lack not in REFUSED]),
            ("refused", [lack for lack in rule.lacks if lack in REFUSED]),
        ):
            if lacks:
                parts.append(f"{what} too: {_list(map(_place, lacks))}")
        if rule.unless_effort:
            parts.append(f"but not with the effort {_list(f'`{one}`' for one in rule.unless_effort)}")
        if rule.effort_field or rule.efforts:
            field, efforts = rule.effort_field or effort_field, rule.efforts or options.efforts
            parts.append(f"efforts: {_efforts(field, efforts)}")
        rows.append((f"models that match `{_cell(rule.models)}`", "; ".join(parts)))
    return rows


def _efforts(field: str, efforts: Iterable[str]) -> str:
    if field in SWITCHES:
        return "on, or off with `none`"
    return _list(f"`{one}`" for one in efforts) or "all"


def _place(lack: str) -> str:
    return f"`{PLACES.get(lack, lack)}`"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


def _key(preset: Preset) -> str:
    if preset.key_env is None:
        return "none needed"
    condition = "" if preset.needs_key else ", if it wants one"
    if preset.signing is not None:
        condition = " or an account" if preset.needs_entry else ", or an account and an entry in the config"
    return f"`{preset.key_env}`{condition}" + (", and an entry in the config" if preset.needs_entry else "")


def _variable(means: str, env: str | None, default: str | None) -> str:
    parts = [means]
    if env is not None:
        parts.append(f"`{env}`")
    parts.append(f"without it `{default}`" if default is not None else "must be given")
    return "; ".join(parts)


def _cell(text: str) -> str:
    """Text that may stand in a table, in backticks."""
    return re.sub(r"\|", r"\\|", text)


def _beginning(preset: Preset) -> str:
    return f"# {preset.title}\n\n{BEGIN}\n{END}\n"
