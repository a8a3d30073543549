"""The `pluggably` command: serve, ask, list models, manage keys, check and show the config, look whether all is well.

What surprises: the rooms of the house are imported inside the commands. `version`, `--help` and a mistyped option must
answer at once, and must not pay for a database and a server. For the same reason this is argparse: typer brings
pydantic along, which cost a running gateway 9 MB and 0.2 s of its start.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from pluggably import __version__

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime

    from pluggably.config import Settings, Vocabulary
    from pluggably.connection import GatewayClient
    from pluggably.domain.access import ApiKey, Scope
    from pluggably.domain.generation import Location

EXIT_FAILED = 1
EXIT_WRONG_USE = 2
EXIT_INTERRUPTED = 130


class WrongUse(Exception):
    """The command line is wrong in a way that only its command can see."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and ends the process: 0, 1 where the command failed, 2 where the command line or the config
    is wrong, 130 after Ctrl-C. An error is told on standard error, without a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us (`>&-`): what is said there is not wanted
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
    parser = command_parser()
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        parser.print_help(sys.stderr)
        sys.exit(EXIT_WRONG_USE)
    parsed = parser.parse_args(given)
    try:
        sys.exit(parsed.run(parsed))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # Whoever read our output has gone (`| head`), or its disk is full: nothing can be written, not even at exit.
        _silence_output()
        if error.errno == errno.ENOSPC:
            sys.stderr.write("pluggably: there is no space left for what was to be printed.\n")
        sys.exit(EXIT_FAILED)
    except Exception as error:  # noqa: BLE001  what is not an error of the house is raised again
        sys.exit(_told(error, sys.stderr))


def _told(error: Exception, errors: TextIO) -> int:
    from pluggably.config import ConfigError
    from pluggably.errors import PluggablyError, StartupError

    if isinstance(error, WrongUse):
        errors.write(f"pluggably: {error}\n")
        return EXIT_WRONG_USE
    if not isinstance(error, PluggablyError):
        raise error
    # A line of the config's errors starts with the file's name, as compilers do it and editors read it.
    errors.write(f"{error.detail}\n" if isinstance(error, ConfigError) else f"pluggably: {error.detail}\n")
    return EXIT_WRONG_USE if isinstance(error, StartupError) else EXIT_FAILED


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────────


def command_parser() -> argparse.ArgumentParser:
    """Every command and option; the reference page is made from it too."""
    parser = argparse.ArgumentParser(
        prog="pluggably",
        description="A self-hosted, pluggable gateway to generative models: one HTTP API in front of many models.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_run(commands)
    _add_models(commands)
    _add_explain(commands)
    _add_keys(commands)
    _add_config_commands(commands)
    _add_health(commands)
    _add_command(commands, "version", print_version, "Print the version.")
    return parser


def _add_command(commands: Any, name: str, run: Any, summary: str, more: str = "") -> argparse.ArgumentParser:
    description = f"{summary} {more}".strip()
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description, allow_abbrev=False
    )
    command.set_defaults(run=run)
    return command


def _add_serve(commands: Any) -> None:
    serving = _add_command(
        commands, "serve", serve, "Start the gateway.", "On the first start it makes an admin key and shows it."
    )
    _add_config(serving)
    serving.add_argument(
        "--host", metavar="ADDRESS", help="The address to listen on. [PLUGGABLY_HOST; else the config; else 127.0.0.1]"
    )
    serving.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help="The port; 0 takes a free one. [PLUGGABLY_PORT; else the config; else 8080]",
    )
    _add_data_dir(serving)


def _add_run(commands: Any) -> None:
    running = _add_command(
        commands,
        "run",
        run,
        "Ask a model, and print the answer as it comes.",
        "Asks the gateway that runs here. If none does, one is started for as long as the answer takes.",
    )
    running.add_argument("model", metavar="MODEL", help="The model to ask, such as demo or openai/gpt-5.")
    running.add_argument(
        "prompt", metavar="PROMPT", nargs="?", help="The prompt. Without it, or with -, standard input."
    )
    running.add_argument(
        "--system", dest="system_message", metavar="TEXT", help="A system message to set before the prompt."
    )
    running.add_argument("--max-output-tokens", type=int, metavar="N", help="The longest answer, in tokens.")
    running.add_argument("--temperature", type=float, metavar="N", help="From 0, the least random, to 2.")
    _add_json(running)
    _add_url(running)
    _add_config(running)
    _add_data_dir(running)


def _add_models(commands: Any) -> None:
    listing = _add_command(commands, "models", list_models, "List the models that can be asked.")
    _add_json(listing)
    _add_url(listing)
    _add_config(listing)
    _add_data_dir(listing)


def _add_explain(commands: Any) -> None:
    explaining = _add_command(
        commands,
        "explain",
        explain,
        "Tell which targets would serve a model now, in which order and why, and why others would not.",
    )
    explaining.add_argument("model", metavar="MODEL", help="The model, alias or route, such as chat or openai/gpt-5.")
    for name, words in (
        ("only", "Nothing but these may serve"),
        ("ignore", "These may not serve"),
        ("order", "These first"),
    ):
        explaining.add_argument(
            f"--{name}",
            metavar="NAMES",
            help=f"{words}, as a request's routing.{name}: providers, runners, local models, or local, remote, free; "
            "with commas.",
        )
    explaining.add_argument("--sort", metavar="BY", help="price or latency, as a request's routing.sort.")
    _add_json(explaining)
    _add_url(explaining)
    _add_config(explaining)
    _add_data_dir(explaining)


def _add_keys(commands: Any) -> None:
    keys = commands.add_parser(
        "keys",
        help="Make, list and revoke API keys.",
        description="Make, list and revoke API keys. Works on the data directory itself, whether the gateway runs or "
        "not.",
        allow_abbrev=False,
    )
    subcommands = keys.add_subparsers(title="commands", metavar="COMMAND", required=True)
    creating = _add_command(
        subcommands,
        "create",
        create_key,
        "Make a key.",
        "It is printed this once, alone on standard output. A running gateway takes it within a second.",
    )
    creating.add_argument("--name", metavar="TEXT", default="unnamed", help="What the key is for.")
    creating.add_argument(
        "--scope",
        metavar="SCOPE",
        action="append",
        help="What it may do; may be given several times: generate, models:read, models:write, metrics, admin. "
        "[generate and models:read]",
    )
    creating.add_argument(
        "--local", action="store_true", help="What is sent with it never leaves for a remote provider."
    )
    creating.add_argument("--expires", metavar="WHEN", help="After a time (12h, 30d) or at a date (2027-01-31).")
    _add_json(creating)
    _add_data_dir(creating)
    listing = _add_command(subcommands, "list", list_keys, "List all keys, the revoked ones too.")
    _add_json(listing)
    _add_data_dir(listing)
    revoking = _add_command(
        subcommands, "revoke", revoke_key, "Revoke a key.", "A running gateway refuses it within a second."
    )
    revoking.add_argument("id", metavar="ID", help="The key's id, as `pluggably keys list` shows it.")
    _add_data_dir(revoking)


def _add_config_commands(commands: Any) -> None:
    configuring = commands.add_parser(
        "config",
        help="Check and show the config.",
        description="Check and show the config. Starts nothing, and asks no gateway.",
        allow_abbrev=False,
    )
    subcommands = configuring.add_subparsers(title="commands", metavar="COMMAND", required=True)
    checking = _add_command(
        subcommands, "check", check_config, "Check the config file.", "Every error is told at once, as at a start."
    )
    _add_config(checking)
    _add_command(subcommands, "schema", print_config_schema, "Print the JSON Schema of the config file, for editors.")
    showing = _add_command(
        subcommands,
        "show",
        show_config,
        "Print the config that counts, as YAML.",
        "File and environment are settled, secrets are masked.",
    )
    showing.add_argument("--all", action="store_true", help="Print the defaults as well.")
    _add_config(showing)


def _add_health(commands: Any) -> None:
    asking = _add_command(
        commands,
        "health",
        check_health,
        "Tell whether the gateway that runs here can serve.",
        "Ends with 0 if it can, with 1 if it cannot or none runs. For a container's health check, and for scripts.",
    )
    _add_url(asking)
    _add_data_dir(asking)


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=_path, metavar="FILE", help="The config file. [PLUGGABLY_CONFIG; else ./pluggably.yaml]"
    )


def _add_data_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data-dir",
        type=_path,
        metavar="FOLDER",
        help="Where keys and registered models are kept. [PLUGGABLY_DATA_DIR; else ~/.local/share/pluggably]",
    )


def _add_url(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--url", metavar="URL", help="Ask this gateway, with the key in PLUGGABLY_API_KEY. [PLUGGABLY_URL]"
    )


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="Print JSON instead of text for people.")


def _path(text: str) -> Path:
    # An empty variable in a script: Path would take it for the working directory.
    if not text:
        raise argparse.ArgumentTypeError("it must not be empty")
    return Path(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError("it must be a number from 0 to 65535")
    return int(text)


# ── the commands ──────────────────────────────────────────────────────────────────────────────────────────────────────


def serve(given: argparse.Namespace) -> int:
    from pluggably import app
    from pluggably.config import Flags, load_settings
    from pluggably.welcome import announce

    flags = Flags(config=given.config, data_dir=given.data_dir, host=given.host, port=given.port)
    settings = load_settings(flags, vocabulary=_vocabulary())

    def told(url: str, token: str | None) -> None:
        try:
            announce(settings, url, token, sys.stdout, _program())
        except OSError:
            # A full disk, or nobody reads it (any more). A gateway is there to serve; the log has the address.
            _silence_output()

    return app.serve(settings, told)


def run(given: argparse.Namespace) -> int:
    text = given.prompt if given.prompt not in (None, "-") else sys.stdin.read()
    if not text.strip():
        raise WrongUse("There is no prompt. Give one after the model, or on standard input.")
    parameters = {"max_output_tokens": given.max_output_tokens, "temperature": given.temperature}
    messages = [{"role": "system", "content": given.system_message}] if given.system_message is not None else []
    from pluggably.terminal import print_answer

    request = {
        "model": given.model,
        "input": [*messages, {"role": "user", "content": text}],
        "parameters": {name: value for name, value in parameters.items() if value is not None},
    }
    with _gateway(given) as asked:
        return print_answer(asked, request, given.json, sys.stdout, sys.stderr)


def list_models(given: argparse.Namespace) -> int:
    import json

    from pluggably.terminal import one_line, table

    with _gateway(given) as asked:
        listed, warnings = asked.list("/v1/models")
    for warning in warnings:
        sys.stderr.write(one_line(f"warning: {warning['backend']}: {warning['detail']}") + "\n")
    if given.json:
        _say(json.dumps(listed, indent=2))
        return 0
    rows = [
        [one["id"], one["location"], one["status"], _or_dash(one["context_tokens"]), one["source"]] for one in listed
    ]
    _say(table(["MODEL", "LOCATION", "STATUS", "CONTEXT", "SOURCE"], rows))
    return 0


def explain(given: argparse.Namespace) -> int:
    import json
    from urllib.parse import quote, urlencode

    from pluggably.terminal import price_words, table

    asked = {name: value for name in ("only", "ignore", "order", "sort") if (value := getattr(given, name)) is not None}
    with _gateway(given) as gateway:
        model = gateway.get(f"/v1/models/{quote(given.model)}{'?' if asked else ''}{urlencode(asked)}")
    targets = model["targets"]
    if given.json:
        _say(json.dumps(targets, indent=2))
        return 0
    rows = [
        [
            _or_dash(one["position"]),
            one["backend"],
            one["model"],
            one["location"],
            price_words(one),
            f"{one['latency_s']:.2g} s" if one["latency_s"] is not None else "-",
            one["reason"],
        ]
        for one in targets
    ]
    _say(table(["TRY", "BACKEND", "MODEL", "LOCATION", "PRICE", "LATENCY", "WHY"], rows))
    return 0


def check_health(given: argparse.Namespace) -> int:
    from pluggably.config import client_settings, data_directory
    from pluggably.connection import running_gateway

    named_url, _ = client_settings()
    asked = running_gateway(given.url or named_url, data_directory(given.data_dir))
    detail = asked.check_ready()
    if detail is not None:
        from pluggably.terminal import one_line

        sys.stderr.write(one_line(f"warning: {detail}") + "\n")
    _say(f"The gateway at {asked.url} is ready.")
    return 0


def print_version(_: argparse.Namespace) -> int:
    _say(__version__)
    return 0


def create_key(given: argparse.Namespace) -> int:
    import msgspec

    from pluggably.domain.access import MAX_KEY_NAME

    scopes = _scopes(given.scope)
    until = _expiry(given.expires)
    if not 1 <= len(given.name) <= MAX_KEY_NAME:
        raise WrongUse(f"--name takes 1 to {MAX_KEY_NAME} characters.")
    location: Location | None = "local" if given.local else None
    new = _with_keys(given.data_dir, lambda store: store.create(given.name, scopes, until, location), may_make=True)
    if given.json:
        _say(msgspec.json.encode({**msgspec.structs.asdict(new.key), "secret": new.token}).decode())
        return 0
    kept_local = ", local only" if location else ""
    sys.stderr.write(f"{new.key.id} ({', '.join(new.key.scopes)}{kept_local}). Its text is shown this once:\n")
    _say(new.token)
    return 0


def list_keys(given: argparse.Namespace) -> int:
    import msgspec

    from pluggably.terminal import table

    listed: list[ApiKey] = _with_keys(given.data_dir, lambda store: store.list())
    if given.json:
        _say(msgspec.json.encode(listed).decode())
        return 0
    rows = [
        [key.id, key.name, ",".join(key.scopes), key.location or "any", f"{key.created_at:%Y-%m-%d}", _state(key)]
        for key in listed
    ]
    _say(table(["ID", "NAME", "SCOPES", "LOCATION", "CREATED", "STATE"], rows))
    return 0


def revoke_key(given: argparse.Namespace) -> int:
    key = _with_keys(given.data_dir, lambda store: store.revoke(given.id))
    _say(f"{key.id} ({key.name}) is revoked.")
    return 0


def check_config(given: argparse.Namespace) -> int:
    from pluggably.config import Flags, load_settings

    settings = load_settings(Flags(config=given.config), vocabulary=_vocabulary())
    for warning in settings.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    config = settings.config
    for model in config.local_models():
        trouble = _weights_trouble(Path(model.weights)) if model.weights is not None else None
        if trouble is not None:
            sys.stderr.write(f"warning: models.{model.id}.weights: {trouble}; as long as it is so, it cannot run.\n")
    counts = [
        _count(len(settings.providers), "provider"),
        _count(len(config.local_models()), "model"),
        _count(len(config.routes()), "route"),
        *([_count(len(config.aliases()), "alias", "aliases")] if config.aliases() else []),
    ]
    subject = (
        f"{settings.config_path} is valid" if settings.config_path else "There is no config file; the defaults apply"
    )
    _say(f"{subject}: {', '.join(counts)}.")
    return 0


def print_config_schema(_: argparse.Namespace) -> int:
    import json

    from pluggably.config.reference import config_schema

    _say(json.dumps(config_schema(), indent=2))
    return 0


def show_config(given: argparse.Namespace) -> int:
    from pluggably.config import Flags, load_settings
    from pluggably.config.shown import shown

    settings = load_settings(Flags(config=given.config), vocabulary=_vocabulary())
    _say(shown(settings, everything=given.all).rstrip("\n"))
    return 0


# ── pieces of the commands ────────────────────────────────────────────────────────────────────────────────────────────


def _silence_output() -> None:
    """What is still to be printed goes nowhere, also at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _program() -> str:
    """What to type in another terminal for the program that runs now, which need not be on the PATH."""
    import shlex
    import shutil

    this = Path(sys.argv[0])
    if this.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m pluggably"
    found = shutil.which(this.name)
    is_found = found is not None and this.exists() and Path(found).samefile(this)
    return this.name if is_found else shlex.quote(str(this.absolute()))


def _weights_trouble(path: Path) -> str | None:
    """Why a model's file or folder could not be read by this user now."""
    try:
        wanted = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
        path.stat()
        is_readable = os.access(path, wanted)
    except FileNotFoundError:
        return f"there is no file {path}"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return None if is_readable else f"{path} cannot be read by this user (id {os.geteuid()})"


def _vocabulary() -> Vocabulary:
    """What is installed, by which the config is checked."""
    from pluggably.config import Vocabulary
    from pluggably.plugins import CODECS, RUNNERS, Plugins
    from pluggably.providers.presets import PRESETS

    return Vocabulary(presets=PRESETS, codecs=Plugins(CODECS), runners=Plugins(RUNNERS))


def _gateway(given: argparse.Namespace) -> AbstractContextManager[GatewayClient]:
    from pluggably.config import Flags, client_settings, load_settings
    from pluggably.connection import gateway

    named_url, key = client_settings()
    if given.url or named_url:
        # Nothing of this machine's own config matters then, not even a mistake in it.
        return gateway(url=given.url or named_url, key=key, data_dir=Path(), configured_url="")
    settings = load_settings(Flags(config=given.config, data_dir=given.data_dir))
    arguments = ["--config", str(settings.config_path)] if settings.config_path is not None else []
    return gateway(
        url=None,
        key=key,
        data_dir=settings.data_dir,
        configured_url=_configured_url(settings),
        arguments=arguments,
    )


def _configured_url(settings: Settings) -> str:
    # An address that means "everywhere" is not one to connect to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _with_keys(data_dir: Path | None, work: Any, *, may_make: bool = False) -> Any:
    """Does some work on the keys of a data directory. One that is not there is made only where it `may_make` one."""
    import asyncio

    from pluggably.config import data_directory
    from pluggably.storage.database import open_database
    from pluggably.storage.datadir import is_data_directory, open_data_directory
    from pluggably.storage.keys import KeyStore

    path = data_directory(data_dir)
    is_there = is_data_directory(path)
    if not is_there and not may_make:
        raise WrongUse(f"There are no keys in {path}. Name the gateway's data directory with --data-dir.")

    async def working() -> Any:
        directory = open_data_directory(path)
        database = open_database(directory)
        try:
            return await work(KeyStore(database, directory.pepper))
        finally:
            await database.close()

    done = asyncio.run(working())
    if not is_there:
        sys.stderr.write(f"There was no data directory at {path}; it has been made.\n")
    return done


def _scopes(given: list[str] | None) -> list[Scope]:
    from pluggably.domain.access import DEFAULT_SCOPES, SCOPES

    if not given:
        return list(DEFAULT_SCOPES)
    names = [name.strip() for text in given for name in text.split(",")]
    unknown = [name for name in names if name not in SCOPES]
    if unknown:
        raise WrongUse(f"--scope takes {', '.join(sorted(SCOPES))}; not {', '.join(map(repr, unknown))}.")
    return list(dict.fromkeys(names))  # type: ignore[arg-type]


def _expiry(text: str | None) -> datetime | None:
    """`12h`, `30d`, `2027-01-31`, `2027-01-31T12:00:00Z` → a moment to come."""
    from datetime import UTC, datetime, timedelta

    if text is None:
        return None
    now = datetime.now(UTC)
    try:
        if match := re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text):
            units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
            until = now + timedelta(**{units[match[2]]: int(match[1])})
        else:
            until = datetime.fromisoformat(text)
            until = until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)
    except (ValueError, OverflowError):
        raise WrongUse("--expires takes a time such as 12h or 30d, or a date such as 2027-01-31.") from None
    if until <= now:
        raise WrongUse("--expires lies in the past.")
    return until


def _state(key: ApiKey) -> str:
    from datetime import UTC, datetime

    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at is None:
        return "live"
    word = "expired" if key.expires_at <= datetime.now(UTC) else "until"
    return f"{word} {key.expires_at:%Y-%m-%d}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
