"""What the gateway is started with: flag before environment before file before default."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from reading import VOCABULARY

from pluggably.config import (
    ConfigError,
    Flags,
    Secret,
    client_settings,
    data_directory,
    load_settings,
)
from pluggably.config import settings as module
from pluggably.config.watch import fingerprints
from pluggably.errors import StartupError


def test_each_source_comes_before_the_next(tmp_path: Path) -> None:
    """Host and port from a flag, else the environment, else the file, else the default."""
    home = {"HOME": str(tmp_path)}
    told = {**home, "PLUGGABLY_PORT": "2", "PLUGGABLY_HOST": "h2"}
    nothing = load_settings(environment=home, folder=tmp_path)
    assert (nothing.host, nothing.port, nothing.config_path) == ("127.0.0.1", 8080, None)
    (tmp_path / "pluggably.yaml").write_text("server: {port: 3, host: h3}")
    from_file = load_settings(environment=home, folder=tmp_path)
    assert (from_file.host, from_file.port) == ("h3", 3)
    from_environment = load_settings(environment=told, folder=tmp_path)
    assert (from_environment.host, from_environment.port) == ("h2", 2)
    from_flags = load_settings(Flags(host="h1", port=0), environment=told, folder=tmp_path)
    assert (from_flags.host, from_flags.port) == ("h1", 0)


def test_the_file_is_looked_for_in_order(tmp_path: Path) -> None:
    """--config, then PLUGGABLY_CONFIG, then the working directory, then the user's config folder."""
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    places = [tmp_path / "flag.yaml", tmp_path / "env.yaml", tmp_path / "pluggably.yaml"]
    places.append(tmp_path / "xdg" / "pluggably" / "pluggably.yaml")
    places[-1].parent.mkdir(parents=True)
    for place in places:
        place.write_text("")
    named = {**environment, "PLUGGABLY_CONFIG": "env.yaml"}
    assert load_settings(Flags(config=Path("flag.yaml")), environment=named, folder=tmp_path).config_path == places[0]
    assert load_settings(environment=named, folder=tmp_path).config_path == places[1]
    assert load_settings(environment=environment, folder=tmp_path).config_path == places[2]
    places[2].unlink()
    assert load_settings(environment=environment, folder=tmp_path).config_path == places[3]
    del environment["XDG_CONFIG_HOME"]
    assert load_settings(environment=environment, folder=tmp_path).config_path is None


@pytest.mark.parametrize("is_flag", [True, False])
def test_a_named_file_must_be_there(tmp_path: Path, is_flag: bool) -> None:
    """A mistyped path must not start a gateway without its config."""
    flags = Flags(config=Path("gone.yaml")) if is_flag else Flags()
    environment = {"HOME": "/", **({} if is_flag else {"PLUGGABLY_CONFIG": "gone.yaml"})}
    with pytest.raises(StartupError, match=r"gone\.yaml, which (--config|PLUGGABLY_CONFIG) names"):
        load_settings(flags, environment=environment, folder=tmp_path)


def test_a_folder_that_cannot_be_looked_into_has_no_file(tmp_path: Path) -> None:
    """The gateway starts where its home folder is another user's; a file that was named there is told."""
    # Too long a name fails for everybody; a folder without permission would not for root, who runs tests in containers.
    home = "/" + "x" * 300
    assert load_settings(environment={"HOME": home}, folder=tmp_path).config_path is None
    with pytest.raises(StartupError, match="which PLUGGABLY_CONFIG names, cannot be read: File name too long"):
        load_settings(environment={"HOME": "/", "PLUGGABLY_CONFIG": f"{home}/a.yaml"}, folder=tmp_path)


def test_errors_of_the_file_name_it(tmp_path: Path) -> None:
    """The path in a message is one that an editor can open."""
    (tmp_path / "pluggably.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/pluggably.yaml:1:1: unknown key `a`")):
        load_settings(environment={"HOME": "/"}, folder=tmp_path)


@pytest.mark.parametrize("text", ["-1", "65536", "http", "8080 ", "٣"])
def test_a_port_of_the_environment_must_be_one(text: str, tmp_path: Path) -> None:
    """A wrong PLUGGABLY_PORT is told, not ignored."""
    with pytest.raises(StartupError, match="PLUGGABLY_PORT"):
        load_settings(environment={"HOME": "/", "PLUGGABLY_PORT": text}, folder=tmp_path)


def test_the_admin_key_is_a_secret(tmp_path: Path) -> None:
    """PLUGGABLY_ADMIN_KEY is taken over, and never shown with the settings; an empty one is none."""
    settings = load_settings(environment={"HOME": "/", "PLUGGABLY_ADMIN_KEY": "k" * 32}, folder=tmp_path)
    assert settings.admin_key == Secret("k" * 32)
    assert "kkk" not in repr(settings)
    assert load_settings(environment={"HOME": "/", "PLUGGABLY_ADMIN_KEY": ""}, folder=tmp_path).admin_key is None


def test_the_data_directory_follows_the_same_order(tmp_path: Path) -> None:
    """A flag, PLUGGABLY_DATA_DIR, XDG_DATA_HOME, the home folder; a relative path starts where we are."""
    environment = {"HOME": "/home/pip", "XDG_DATA_HOME": "/xdg", "PLUGGABLY_DATA_DIR": "there"}
    assert data_directory(Path("here"), environment, tmp_path) == tmp_path / "here"
    assert data_directory(None, environment, tmp_path) == tmp_path / "there"
    del environment["PLUGGABLY_DATA_DIR"]
    assert data_directory(None, environment, tmp_path) == Path("/xdg/pluggably")
    environment["XDG_DATA_HOME"] = "relative"
    assert data_directory(None, environment, tmp_path) == Path("/home/pip/.local/share/pluggably")
    with pytest.raises(StartupError, match="PLUGGABLY_DATA_DIR"):
        data_directory(None, {}, tmp_path)


def test_the_command_line_takes_its_gateway_and_key_from_the_environment() -> None:
    """PLUGGABLY_URL and PLUGGABLY_API_KEY, where they are set."""
    assert client_settings({}) == (None, None)
    assert client_settings({"PLUGGABLY_URL": "http://x", "PLUGGABLY_API_KEY": "k"}) == ("http://x", Secret("k"))


def test_every_variable_is_documented() -> None:
    """A variable that the module reads stands in the table from which the reference page is made."""
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert {text for text in texts if re.fullmatch(r"PLUGGABLY_[A-Z_]+", text)} == set(module.VARIABLES)


def test_providers_are_those_of_the_file_and_of_the_environment(tmp_path: Path) -> None:
    """With their keys; without a vocabulary, those that stand in the file."""
    (tmp_path / "pluggably.yaml").write_text("providers: {openai: {location: local}, ollama: {enabled: false}}")
    environment = {"HOME": "/", "GROQ_API_KEY": "g", "OPENAI_API_KEY": "o"}
    settings = load_settings(vocabulary=VOCABULARY, environment=environment, folder=tmp_path)
    assert {name: entry.api_key for name, entry in settings.providers.items()} == {
        "groq": Secret("g"),
        "openai": Secret("o"),
    }
    assert settings.config.providers["openai"].api_key is None
    assert list(load_settings(environment=environment, folder=tmp_path).providers) == ["openai"]


def test_the_variables_that_counted_are_named(tmp_path: Path) -> None:
    """Not those that a flag overrules, nor those that nothing reads."""
    (tmp_path / "pluggably.yaml").write_text("server: {host: '${ADDRESS}'}\nproviders: {groq: {api_key: x}}")
    environment = {"HOME": "/", "ADDRESS": "h", "OTHER": "o", "GROQ_API_KEY": "g", "OPENAI_API_KEY": "o"}
    environment |= {"PLUGGABLY_PORT": "1", "PLUGGABLY_DATA_DIR": "d", "PLUGGABLY_HOST": ""}
    settings = load_settings(Flags(port=2), vocabulary=VOCABULARY, environment=environment, folder=tmp_path)
    assert settings.variables == ("ADDRESS", "OPENAI_API_KEY", "PLUGGABLY_DATA_DIR")


def test_half_a_provider_in_the_environment_is_a_warning(tmp_path: Path) -> None:
    """It is told at the start, beside the warnings of the file."""
    (tmp_path / "pluggably.yaml").write_text("providers: {openai: {api_keys: [a, a]}}")
    environment = {"HOME": "/", "CLOUD_KEY": "k"}
    twice, half = load_settings(vocabulary=VOCABULARY, environment=environment, folder=tmp_path).warnings
    assert twice.startswith(f"{tmp_path}/pluggably.yaml:1:36: providers.openai.api_keys.1: ")
    assert half.startswith("CLOUD_KEY is set")


def test_a_reload_reads_the_same_file_with_the_same_flags(tmp_path: Path) -> None:
    """A file that would be found first now does not take its place; a wrong one leaves the settings as they are."""
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    path = tmp_path / "xdg" / "pluggably" / "pluggably.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("server: {host: first}")
    settings = load_settings(Flags(port=7), environment=environment, folder=tmp_path)
    assert list(settings.files) == [path]
    (tmp_path / "pluggably.yaml").write_text("server: {host: other}")
    path.write_text("server: {host: second, port: 9}")
    again = settings.reload()
    assert (again.config_path, again.host, again.port) == (path, "second", 7)
    assert settings.host == "first"
    assert settings.files != again.files
    path.write_text("server: {prot: 9}")
    with pytest.raises(ConfigError) as caught:
        again.reload()
    assert list(caught.value.files) == [path]
    path.unlink()
    with pytest.raises(StartupError, match="cannot be read: No such file"):
        again.reload()


def test_a_reload_finds_a_file_where_there_was_none(tmp_path: Path) -> None:
    """Who starts without a file and writes one need not restart."""
    settings = load_settings(environment={"HOME": str(tmp_path)}, folder=tmp_path)
    assert (settings.config_path, dict(settings.files)) == (None, {})
    (tmp_path / "pluggably.yaml").write_text("demo: false")
    assert settings.reload().config_path == tmp_path / "pluggably.yaml"


def test_the_files_are_known_that_a_wrong_config_was_read_from(tmp_path: Path) -> None:
    """The secret's file that is missing is among them: once it is there, the config may be right."""
    path = tmp_path / "pluggably.yaml"
    path.write_text("providers: {openai: {api_key: 'file:key'}, groq: {api_key: 'file:late'}}")
    (tmp_path / "key").write_text("k")
    with pytest.raises(ConfigError) as caught:
        load_settings(vocabulary=VOCABULARY, environment={"HOME": "/"}, folder=tmp_path)
    assert caught.value.files == fingerprints([path, tmp_path / "key", tmp_path / "late"])
    assert caught.value.files[tmp_path / "late"] is None
    assert caught.value.files[tmp_path / "key"] is not None


@pytest.mark.parametrize("size", [64 * 1024, 256 * 1024, 300 * 1024])
def test_a_file_that_is_too_large_is_told_once(size: int, tmp_path: Path) -> None:
    """What was read of it looks the same to whoever watches it, or it would be read anew for ever."""
    path = tmp_path / "pluggably.yaml"
    path.write_text("providers: {openai: {api_key: 'file:key'}}")
    (tmp_path / "key").write_text("k" * (size + 1))
    with pytest.raises(ConfigError, match="larger than") as caught:
        load_settings(environment={"HOME": "/"}, folder=tmp_path)
    assert caught.value.files == fingerprints([path, tmp_path / "key"])
