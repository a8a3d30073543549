"""The commands that need no gateway: keys, the version, and how mistakes are told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CommandLine

from pluggably import __version__


@pytest.fixture
def pluggably(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_the_version_comes_without_the_rest_of_the_house(pluggably: CommandLine) -> None:
    """It is answered before a room is imported."""
    assert pluggably("version") == (f"{__version__}\n", "")
    program = "import sys, pluggably.cli as cli; cli.command_parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    rooms = [name for name in done.stdout.split() if name.startswith("pluggably")]
    assert rooms == ["pluggably", "pluggably.cli"]
    assert not {"sqlalchemy", "aiohttp", "msgspec", "yaml", "asyncio"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("serve",),
        ("run",),
        ("models",),
        ("keys",),
        ("keys", "create"),
        ("keys", "revoke"),
        ("config",),
        ("config", "show"),
        ("version",),
    ],
)
def test_every_command_has_help(pluggably: CommandLine, command: tuple[str, ...]) -> None:
    """`--help` prints a usage line and a sentence."""
    out, _ = pluggably(*command, "--help")
    assert out.startswith(f"usage: pluggably {' '.join(command)}".rstrip())
    assert re.search(r"(?m)^[A-Z].*", out)
    assert "\x1b" not in out


def test_no_command_at_all_is_a_question_for_help(pluggably: CommandLine) -> None:
    """The list of commands, and an exit code that a script notices."""
    out, errors = pluggably(code=2)
    assert out == ""
    assert "serve" in errors


def test_a_key_is_made_listed_and_revoked(pluggably: CommandLine) -> None:
    """The token stands alone on standard output, so that a script can take it; the list never shows it."""
    token, note = pluggably("keys", "create", "--name", "laptop", "--scope", "generate", "--scope", "metrics")
    assert re.fullmatch(r"plg_[0-9a-f]{32}_[\w-]{43}\n", token)
    key_id = "key_" + token.split("_")[1]
    assert key_id in note
    listed, _ = pluggably("keys", "list")
    assert token.strip() not in listed
    assert re.search(rf"(?m)^{key_id}  laptop  generate,metrics  any       \d{{4}}-\d\d-\d\d  live$", listed)
    assert pluggably("keys", "revoke", key_id)[0] == f"{key_id} (laptop) is revoked.\n"
    assert "revoked" in pluggably("keys", "list")[0]


def test_keys_are_told_to_programs_as_json(pluggably: CommandLine) -> None:
    """With `--json`, the fields of the API."""
    made = json.loads(pluggably("keys", "create", "--json", "--expires", "30d")[0])
    assert made["secret"].startswith("plg_")
    assert made["scopes"] == ["generate", "models:read"]
    (listed,) = json.loads(pluggably("keys", "list", "--json")[0])
    assert listed == {name: value for name, value in made.items() if name != "secret"}


@pytest.mark.parametrize("when", ["12h", "2999-01-31T12:00:00+02:00"])
def test_an_expiry_is_a_time_or_a_date(pluggably: CommandLine, when: str) -> None:
    """Both are taken, and shown in the list."""
    pluggably("keys", "create", "--expires", when)
    assert "until" in pluggably("keys", "list")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("keys", "create", "--expires", "soon"), "pluggably: --expires takes a time such as 12h or 30d"),
        (("keys", "create", "--expires", "2020-01-01"), "pluggably: --expires lies in the past."),
        (("keys", "create", "--expires", "999999w"), "pluggably: --expires takes"),
        (("keys", "create", "--scope", "all"), "pluggably: --scope takes admin, generate"),
        (("keys", "create", "--name", ""), "pluggably: --name takes 1 to 100 characters."),
        (
            ("keys", "create", "--name", "a", "--data-dir", "/dev/null"),
            "pluggably: /dev/null cannot be made: a file stands",
        ),
        (("run", "demo", " "), "pluggably: There is no prompt."),
        (("run", "demo"), "pluggably: There is no prompt."),
        (("serve", "--config", "gone.yaml"), "pluggably: There is no config file at "),
        (("serve", "--port", "70000"), "argument --port: it must be a number from 0 to 65535"),
        (("serve", "--data-dir", ""), "argument --data-dir: it must not be empty"),
        (("serve", "--prot", "1"), "unrecognized arguments: --prot"),
        (("srve",), "invalid choice: 'srve'"),
    ],
)
def test_a_wrong_command_line_is_told(pluggably: CommandLine, arguments: tuple[str, ...], message: str) -> None:
    """One clear line, no traceback, nothing on standard output, exit code 2."""
    out, errors = pluggably(*arguments, code=2)
    assert out == ""
    assert message in errors


def test_an_unknown_key_is_told(pluggably: CommandLine) -> None:
    """It failed, and the command line was right: exit code 1."""
    pluggably("keys", "create", "--name", "mine")
    assert pluggably("keys", "revoke", "key_x", code=1) == ("", "pluggably: There is no key with this id.\n")


@pytest.mark.parametrize("arguments", [("keys", "list"), ("keys", "revoke", "key_x")])
def test_a_data_directory_that_is_not_there_has_no_keys(pluggably: CommandLine, arguments: tuple[str, ...]) -> None:
    """It is told and not made; `create` makes it and says so."""
    wrong = pluggably.folder / "wrong"
    errors = pluggably(*arguments, "--data-dir", str(wrong), code=2)[1]
    assert errors.startswith(f"pluggably: There are no keys in {wrong}.")
    assert not wrong.exists()
    told = pluggably("keys", "create", "--name", "mine", "--data-dir", str(wrong))[1]
    assert f"There was no data directory at {wrong}; it has been made.\n" in told
    assert "been made" not in pluggably("keys", "create", "--name", "other", "--data-dir", str(wrong))[1]


def test_errors_of_the_config_are_told_as_compilers_do(pluggably: CommandLine) -> None:
    """`file:line:column: message`, one a line, from `serve` and from `run` alike."""
    path = pluggably.folder / "pluggably.yaml"
    path.write_text("server: {prot: 1}\nproviders: {openia: {}}\n")
    first = f"{path}:1:10: server: unknown key `prot`; did you mean `port`?\n"
    second = f"{path}:2:21: providers.openia: there is no preset `openia`; did you mean `openai`?"
    errors = pluggably("serve", code=2)[1]
    assert errors.startswith(first + second)
    assert pluggably("run", "demo", "Hello", code=2)[1] == first


def test_a_reader_that_leaves_is_no_error(pluggably: CommandLine) -> None:
    """`pluggably keys list | head` ends without a word."""
    pluggably("keys", "create", "--name", "x" * 100)
    command = f"({sys.executable} -m pluggably keys list; echo $? >&2) | (sleep 0)"
    pluggably.environment["PYTHONUNBUFFERED"] = "1"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=pluggably.folder,
        env=pluggably.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr.strip() in ("0", "1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told(pluggably: CommandLine) -> None:
    """In a line, as any other error; and closed streams are no error at all."""

    def shell(redirected: str) -> subprocess.CompletedProcess[str]:
        command = f"{sys.executable} -m pluggably version {redirected}"
        return subprocess.run(
            ["/bin/sh", "-c", command],
            env=pluggably.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    full = shell(">/dev/full")
    assert (full.returncode, full.stderr) == (
        1,
        "pluggably: there is no space left for what was to be printed.\n",
    )
    assert (shell(">&-").returncode, shell("2>&- >&-").returncode) == (0, 0)


def test_a_small_command_loads_little(pluggably: CommandLine) -> None:
    """`pluggably version` answers without the event loop, the database and the web framework."""
    heavy = {"asyncio", "msgspec", "sqlalchemy", "starlette", "structlog", "uvicorn"}
    program = (
        "import atexit, sys; sys.argv[1:] = ['version']; from pluggably.__main__ import main; "
        f"atexit.register(lambda: print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=pluggably.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "[]\n"), done.stdout
