"""Writes the reference pages, what stands in the pages of the providers, and the schemas of the config and of the API.

python scripts/reference.py            write them
python scripts/reference.py --check    write nothing; exit 1 where one is not current
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import reference_api
import reference_differences
import reference_providers

from pluggably.cli import command_parser
from pluggably.config.reference import config_reference, config_schema

FOLDER = Path(__file__).parent.parent / "docs" / "reference"


def pages() -> dict[Path, str]:
    return {
        FOLDER / "config.md": config_reference(),
        FOLDER / "pluggably.schema.json": json.dumps(config_schema(), indent=2) + "\n",
        FOLDER / "cli.md": command_reference(),
        **reference_api.pages(),
        **reference_providers.pages(),
        **reference_differences.pages(),
    }


def command_reference() -> str:
    parts = [
        "# The command line\n",
        "<!-- Made by scripts/reference.py from src/pluggably/cli.py; change it there. -->\n",
    ]
    parts.append(f"{command_parser().description}\n")
    parts.append(
        "Exit codes: 0, 1 where the command failed, 2 where the command line or the config is wrong, 130 after Ctrl-C. "
        "Answers go to standard output, everything else to standard error. In brackets stands what counts where an "
        "option is not given.\n"
    )
    return "\n".join([*parts, *_sections(command_parser())])


def _sections(parser: argparse.ArgumentParser) -> list[str]:
    """A section for each command that does something, in the order of the help."""
    sections = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                sections += _sections(command) or [_section(command)]
    return sections


def _section(command: argparse.ArgumentParser) -> str:
    arguments = [action for action in command._actions if not isinstance(action, argparse._HelpAction)]
    positional = [action for action in arguments if not action.option_strings]
    options = [action for action in arguments if action.option_strings]
    words = [f"[{one.metavar}]" if one.nargs == "?" else str(one.metavar) for one in positional]
    usage = " ".join([command.prog, *(["[OPTIONS]"] if options else []), *words])
    parts = [f"## `{command.prog}`\n", f"{command.description}\n", f"```\n{usage}\n```\n"]
    if arguments:
        rows = [f"| `{_name(action)}` | {action.help} |" for action in [*positional, *options]]
        parts.append("\n".join(["| argument | meaning |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _name(action: argparse.Action) -> str:
    return " ".join([*action.option_strings, *([str(action.metavar)] if action.metavar else [])])


def main() -> int:
    is_check = "--check" in sys.argv[1:]
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        if is_check:
            sys.stderr.write(f"{path.relative_to(FOLDER.parent.parent)} is not current: run scripts/reference.py\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages()[path])
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
