"""The rules of the house that no tool checks: names, sizes, imports that cost, pins, what must never be committed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pluggably"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def tracked_files() -> list[Path]:
    """Every file that is committed or could be: what git does not ignore."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    paths = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


FILES = tracked_files()
TEXTS = [path for path in FILES if path.suffix not in {".gguf", ".png"} and path.name != "LICENSE"]
MODULES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in MODULES}
PAGES = [path for path in FILES if path.suffix == ".md"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines_that_match(pattern: re.Pattern[str], paths: list[Path]) -> Iterator[str]:
    for path in paths:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if pattern.search(line):
                yield f"{name_of(path)}:{number}: {line.strip()[:120]}"


# ── what must never be committed ────────────────────────────────────────────────────────────────────────────────────

# Written in pieces, so that this file does not hold them either.
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "registry." + "npmjs.org", "deb." + "debian.org")
PRIVATE_PATHS = ("/wo" + "rk/", "/ro" + "ot/", "/opt/" + "pypi", "sha" + "red/design", "sha" + "red/spikes")
PRIVATE_WORDS = (
    "co-authored" + "-by",
    "generated" + " with ",
    "as an" + " ai ",
    "sub" + "agent",
    "this" + " session",
    "house" + r"\.md",
    "engines" + r"\.md",
    "stack" + r"\.md",
    "field" + "-gateways",
    "field" + "-local",
    "field" + "-codebases",
)


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_file_names_a_registry_host(host: str) -> None:
    """Whoever installs brings their own index or mirror: a lock file must not send them elsewhere."""
    assert list(lines_that_match(re.compile(re.escape(host)), TEXTS)) == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    """A path that exists on one machine only is wrong on every other."""
    pattern = re.compile("|".join(rf"(?<![\w.~-]){re.escape(path)}" for path in PRIVATE_PATHS))
    assert list(lines_that_match(pattern, TEXTS)) == []


def test_no_file_tells_how_it_came_about() -> None:
    """Text is about the product: not about who wrote it, nor about notes that a reader does not have."""
    pattern = re.compile("|".join(PRIVATE_WORDS), re.IGNORECASE)
    assert list(lines_that_match(pattern, TEXTS)) == []


# ── names and sizes ─────────────────────────────────────────────────────────────────────────────────────────────────

EMPTY_WORDS = (
    "util", "utils", "helper", "helpers", "common", "misc", "manager", "handler", "service", "data", "info", "base",
)  # fmt: skip

# A long file is several things. These two are one thing: a list of descriptions, and a server that is a script.
MAX_LINES = 650
LONGER = {"src/pluggably/api/reference.py": 900, "src/pluggably/testing/fake_openai.py": 1100}


def test_names_say_something() -> None:
    """A name such as `utils` or `RequestManager` tells nothing of what is inside."""
    wrong = []
    for path, tree in TREES.items():
        if path.stem.split("_")[-1] in EMPTY_WORDS:
            wrong.append(name_of(path))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", node.name)
                if words and words[-1].lower() in EMPTY_WORDS:
                    wrong.append(f"{name_of(path)}:{node.lineno}: class {node.name}")
    assert wrong == []


def test_files_are_not_too_long() -> None:
    """Past some size a file holds more than one thing."""
    sizes = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > LONGER.get(name, MAX_LINES)} == {}


def test_every_module_says_what_it_is() -> None:
    """The first lines of a file are where a reader decides whether to read on."""
    silent = [name_of(path) for path, tree in TREES.items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_every_test_says_what_it_shows() -> None:
    """A test's docstring is the sentence that is wrong when the test fails."""
    silent = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
            if is_test and not ast.get_docstring(node):
                silent.append(f"{name_of(path)}:{node.lineno}: {node.name}")
    assert silent == []


# ── walls that the import linter cannot see ─────────────────────────────────────────────────────────────────────────

PROCESS_CALLS = {
    "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell",
    "fork", "forkpty", "posix_spawn", "popen", "system", "execv", "execve", "execvp", "execvpe", "Popen",
}  # fmt: skip
# `memory` starts the gateway's own process once more, on another allocator; `aws_process`, an operator's program.
PROCESS_ROOMS = {
    "runners/supervisor.py", "runners/guard.py", "connection.py", "memory.py", "providers/aws_process.py",
}  # fmt: skip
# The child sets a variable for the library that it loads, in a process of its own; `memory`, one for the interpreter.
ENVIRONMENT_ROOMS = {"config/settings.py", "runners/llama_cpp_child.py", "memory.py"}


def uses(tree: ast.Module, names: set[str]) -> list[int]:
    """The lines where one of these names is used as an attribute or imported by name."""
    found = []
    for node in ast.walk(tree):
        used = isinstance(node, ast.Attribute) and node.attr in names
        imported = isinstance(node, ast.ImportFrom) and any(alias.name in names for alias in node.names)
        if used or imported:
            found.append(node.lineno)
    return found


def outside(rooms: set[str], names: set[str]) -> list[str]:
    return [
        f"{name_of(path)}:{line}"
        for path, tree in TREES.items()
        if path.relative_to(SOURCE).as_posix() not in rooms and "testing" not in path.parts
        for line in uses(tree, names)
    ]


def test_only_config_reads_the_environment() -> None:
    """What the gateway depends on is in one place, and a test can give it another environment."""
    assert outside(ENVIRONMENT_ROOMS, {"environ", "environb", "getenv"}) == []


def test_only_runners_start_processes() -> None:
    """But for the few places named here, each of which watches its own: it has a limit and an end."""
    assert outside(PROCESS_ROOMS, PROCESS_CALLS) == []


def test_starting_the_gateway_imports_nothing_that_few_requests_need() -> None:
    """Memory at rest and the time to start are promised; these parts are loaded when they are first needed."""
    # Not rich, alas: structlog imports it wherever it is installed.
    lazy = {
        "jsonschema",
        "genai_prices",
        "joserfc",
        "cryptography",
        "pydantic",
        "httpx2",
        "alembic",
        "typer",
        "numpy",
        "xllamacpp",
        "torch",
    }
    program = f"import sys, pluggably.app; print(*sorted({lazy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


# ── dependencies ────────────────────────────────────────────────────────────────────────────────────────────────────


def declared(*extras: str) -> list[Requirement]:
    """The dependencies of pyproject.toml, with those of some extras."""
    texts = list(PROJECT["dependencies"])
    for extra in extras:
        texts += PROJECT["optional-dependencies"][extra]
    return [Requirement(text) for text in texts if canonicalize_name(Requirement(text).name) != PROJECT["name"]]


def pins(name: str) -> dict[str, str]:
    """package → version, as pinned in a requirements file."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    return {match[1]: match[2] for match in re.finditer(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize(("name", "extras"), [("core", ()), ("test", ("test",)), ("dev", ("test", "dev"))])
def test_pins_follow_the_declared_dependencies(name: str, extras: tuple[str, ...]) -> None:
    """Where this fails, pyproject.toml was changed: run `make requirements`."""
    pinned = pins(name)
    wrong = [
        f"{need} (pinned: {pinned.get(canonicalize_name(need.name))})"
        for need in declared(*extras)
        if not need.specifier.contains(pinned.get(canonicalize_name(need.name), "0"), prereleases=True)
    ]
    assert wrong == []


def test_pins_agree_with_each_other() -> None:
    """One environment serves all: installing the test requirements must not change what is served."""
    dev = pins("dev")
    for name in ("core", "test"):
        assert {key: version for key, version in pins(name).items() if dev.get(key) != version} == {}


@pytest.mark.parametrize("name", ["build", "core", "dev", "node", "test"])
def test_pins_are_hashed_and_name_no_place(name: str) -> None:
    """A pin is a version and the digests of its files; where the files come from is the installer's choice."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[a-z0-9.-]+==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert not re.search(r"://|file:|--(extra-)?index|--find-links", text)


def test_what_is_pinned_is_installed_as_it_stands() -> None:
    """The pins are complete (`make check` asks pip), so pip has nothing to look for; where it looks all the same, pip
    before 23.3 refuses a package's extra as unpinned as soon as a newer release of that package is out."""
    installs = list(lines_that_match(re.compile("install.*--require" + "-hashes"), TEXTS))
    assert installs
    assert [line for line in installs if "--no-deps" not in line] == []


def test_npm_lock_names_no_place() -> None:
    """The same for npm: an integrity digest, and no `resolved` address."""
    text = (ROOT / "package-lock.json").read_text("utf-8")
    assert '"integrity"' in text
    assert '"resolved"' not in text


def test_every_dependency_is_accounted_for() -> None:
    """docs/decisions/0002-dependencies.md says of each dependency what it is for and why it is this one."""
    record = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text("utf-8").lower()
    missing = [need.name for need in declared("test", "dev") if f"`{canonicalize_name(need.name)}`" not in record]
    assert missing == []


# ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_commands_of_make_that_pages_name_exist() -> None:
    """`make something` in a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", page.read_text("utf-8"))}
    assert named - targets == set()
