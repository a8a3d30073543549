"""What an operator reads when the gateway is ready: where it is, the first key, and a line to try at once.

What surprises: a key is printed only to a terminal. Anywhere else (a container's log, a file, a pipe) it would be kept
for others to read, so it goes into a private file, and only the file's path is printed.
"""

from __future__ import annotations

import shlex
from typing import TextIO

from pluggably import __version__
from pluggably.config import Settings
from pluggably.storage.datadir import ADMIN_KEY, write_private

QUESTION = "Why is the sky blue?"


def announce(settings: Settings, url: str, admin_token: str | None, stream: TextIO, program: str) -> None:
    """Tells that the gateway answers at `url`. `admin_token` is the first key, if it was just made; `program` is how
    our own command is called from another terminal.

    Raises: OSError where it cannot be told, with the key in its file; StartupError where that cannot be written."""
    key_file = settings.data_dir / ADMIN_KEY
    lines = [f"Pluggably {__version__} is ready at {url}", f"  config  {settings.config_path or 'none (defaults)'}"]
    lines += [f"  data    {settings.data_dir}", ""]
    key: str | None = None
    if admin_token is not None and stream.isatty():
        lines += ["Your admin key. It is shown this once:", "", f"  {admin_token}", ""]
        key = admin_token
    elif admin_token is not None:
        write_private(key_file, admin_token.encode() + b"\n")
    if key is None and key_file.is_file():
        lines += [f"The admin key is in {key_file}, which only its owner can read. Keep it, then delete the file.", ""]
        key = f"$(cat {shlex.quote(str(key_file))})"
    model = _model_to_try(settings)
    if key is not None and model is not None:
        lines += ["Try it from another terminal:", "", "  " + _curl(url, key, model)]
    elif model is not None:
        lines += ["Try it from another terminal:", "", f"  {_run(settings, model, program)}", ""]
        lines += [f"`{program} keys create{_data_dir(settings)}` makes a key for other clients."]
    else:
        lines += ["There is no model yet: add a provider or a model to the config file (docs/reference/config.md)."]
    try:
        stream.write("\n".join(lines) + "\n\n")
        stream.flush()
    except OSError:
        if key == admin_token is not None:
            write_private(key_file, admin_token.encode() + b"\n")
        raise


def _model_to_try(settings: Settings) -> str | None:
    if settings.config.demo:
        return "demo"
    return next(iter(settings.config.models), None)


def _curl(url: str, key: str, model: str) -> str:
    # A model's id has no character that would end the quotes of the shell or of JSON.
    body = f'{{"model":"{model}","input":"{QUESTION}"}}'
    return (
        f'curl -s {url}/v1/generations -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d '{body}'"
    )


def _run(settings: Settings, model: str, program: str) -> str:
    return f'{program} run{_data_dir(settings)} {model} "{QUESTION}"'


def _data_dir(settings: Settings) -> str:
    return f" --data-dir {shlex.quote(str(settings.data_dir))}"
