"""What the gateway is started with: the command line, the environment and the config file, settled by
precedence.

A flag comes before the environment, the environment before the file, the file before the default. This is the
only reader of the environment in the house: `os.environ` is the default of a parameter here, and nowhere
else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from pluggably.config.accounts import Accounts, accounts
from pluggably.config.files import Fingerprint
from pluggably.config.load import LoadedConfig, load_config
from pluggably.config.schema import Config, Provider
from pluggably.config.secret import Secret
from pluggably.config.vocabulary import Vocabulary
from pluggably.config.walk import Path_
from pluggably.errors import StartupError

FILE_NAME = "pluggably.yaml"

# Every variable that the gateway and its command line read themselves; the reference page is made from it.
# Beside them stand the variables of the presets, such as OPENAI_API_KEY, and those that the config file
# refers to.
VARIABLES = {
    "PLUGGABLY_CONFIG": "The config file. It must exist.",
    "PLUGGABLY_DATA_DIR": "The data directory: keys, registered models, and what must survive a restart.",
    "PLUGGABLY_HOST": "The address to listen on; comes before `server.host`.",
    "PLUGGABLY_PORT": "The port to listen on; comes before `server.port`.",
    "PLUGGABLY_ADMIN_KEY": "An admin key of your choice: 32 to 512 letters, digits and . _ ~ - only. It counts while "
    "the gateway runs with it; another value replaces it, and without it no admin key is preset.",
    "PLUGGABLY_API_KEY": "The key with which `pluggably run` and `pluggably models` ask a gateway.",
    "PLUGGABLY_URL": "The gateway that `pluggably run` and `pluggably models` ask, such as `http://box:8080`.",
}


class Flags(Struct, frozen=True, kw_only=True):
    """What stands on the command line; None is "not given"."""

    config: Path | None = None
    data_dir: Path | None = None
    host: str | None = None
    port: int | None = None


class Settings(Struct, frozen=True, kw_only=True):
    """All that `app` needs to build the gateway.

    `providers` are those that are switched on, of the file and of the environment, with their keys and variables filled
    in; without a vocabulary, as they stand in the file. `files` are those that were read, with what stood in them.
    `variables` are those of the environment that counted; they cannot change while the process runs. `written` is
    `LoadedConfig`'s."""

    config: Config
    config_path: Path | None
    data_dir: Path
    host: str
    port: int
    providers: dict[str, Provider] = {}
    admin_key: Secret | None = None
    warnings: tuple[str, ...] = ()
    files: Mapping[Path, Fingerprint] = {}
    variables: tuple[str, ...] = ()
    written: Mapping[Path_, str] = {}
    again: Callable[[], Settings] | None = None

    def reload(self) -> Settings:
        """The settings as they would be now: the same flags, the same environment, the files as they are.

        Raises: StartupError, ConfigError; what was loaded before stays as it is."""
        return self.again() if self.again is not None else self


def load_settings(
    flags: Flags | None = None,
    *,
    vocabulary: Vocabulary | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """The settings of a gateway started in `folder` (the working directory unless given).

    Raises: StartupError, ConfigError."""
    flags = flags or Flags()
    environment = os.environ if environment is None else environment
    folder = folder or Path.cwd()
    return _settled(flags, vocabulary, environment, folder, _config_path(flags, environment, folder))


def _settled(
    flags: Flags, vocabulary: Vocabulary | None, environment: Mapping[str, str], folder: Path, path: Path | None
) -> Settings:
    loaded = LoadedConfig(Config()) if path is None else load_config(path, environment, vocabulary)
    config = loaded.config
    if vocabulary is not None:
        providers = accounts(config, vocabulary.presets, environment)
    else:
        providers = Accounts({name: entry for name, entry in config.providers.items() if entry.enabled}, frozenset())

    def again() -> Settings:
        # The file that was found at the start, also where another would be found first now.
        now = path if path is not None else _config_path(flags, environment, folder)
        return _settled(flags, vocabulary, environment, folder, now)

    admin_key = environment.get("PLUGGABLY_ADMIN_KEY")
    overruled = {
        "PLUGGABLY_CONFIG": flags.config is not None,
        "PLUGGABLY_DATA_DIR": flags.data_dir is not None,
        "PLUGGABLY_HOST": flags.host is not None,
        "PLUGGABLY_PORT": flags.port is not None,
        "PLUGGABLY_ADMIN_KEY": False,
    }
    own = {name for name, is_overruled in overruled.items() if environment.get(name) and not is_overruled}
    return Settings(
        config=config,
        config_path=path,
        data_dir=data_directory(flags.data_dir, environment, folder),
        host=flags.host or environment.get("PLUGGABLY_HOST") or config.server.host,
        port=flags.port if flags.port is not None else _port(environment, config.server.port),
        providers=providers.providers,
        admin_key=Secret(admin_key) if admin_key else None,
        warnings=(*loaded.warnings, *providers.warnings),
        files=loaded.files,
        variables=tuple(sorted(own | loaded.variables | providers.variables)),
        written=loaded.written,
        again=again,
    )


def data_directory(flag: Path | None, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Path:
    """Where the gateway keeps what it must not lose. Raises: StartupError where there is no home folder."""
    environment = os.environ if environment is None else environment
    folder = folder or Path.cwd()
    chosen = str(flag) if flag is not None else environment.get("PLUGGABLY_DATA_DIR")
    if chosen:
        return folder / chosen
    xdg = environment.get("XDG_DATA_HOME")
    if xdg and Path(xdg).is_absolute():  # the specification says to ignore a relative one
        return Path(xdg) / "pluggably"
    home = environment.get("HOME")
    if not home:
        raise StartupError("There is no home folder to keep data in. Set PLUGGABLY_DATA_DIR, or give --data-dir.")
    return Path(home) / ".local" / "share" / "pluggably"


def process_environment() -> Mapping[str, str]:
    """The environment of this process, for those who start other processes."""
    return os.environ


def client_settings(environment: Mapping[str, str] | None = None) -> tuple[str | None, Secret | None]:
    """The gateway that the command line asks, and the key for it: PLUGGABLY_URL and PLUGGABLY_API_KEY."""
    environment = os.environ if environment is None else environment
    key = environment.get("PLUGGABLY_API_KEY")
    return environment.get("PLUGGABLY_URL") or None, Secret(key) if key else None


def _config_path(flags: Flags, environment: Mapping[str, str], folder: Path) -> Path | None:
    """The config file: one that was named must be there, one that is only looked for need not."""
    named = str(flags.config) if flags.config is not None else environment.get("PLUGGABLY_CONFIG")
    if named:
        path = folder / named
        origin = "--config" if flags.config is not None else "PLUGGABLY_CONFIG"
        try:
            is_there = path.is_file()
        except OSError as error:
            raise StartupError(f"{path}, which {origin} names, cannot be read: {error.strerror}.") from None
        if not is_there:
            raise StartupError(f"There is no config file at {path}, which {origin} names.")
        return path
    places = [folder / FILE_NAME]
    xdg = environment.get("XDG_CONFIG_HOME")
    home = environment.get("HOME")
    if xdg and Path(xdg).is_absolute():
        places.append(Path(xdg) / "pluggably" / FILE_NAME)
    elif home:
        places.append(Path(home) / ".config" / "pluggably" / FILE_NAME)
    return next((place for place in places if _is_file(place)), None)


def _is_file(place: Path) -> bool:
    """A folder that we may not look into (the home folder of another user, in a container) has no file for us."""
    try:
        return place.is_file()
    except OSError:
        return False


def _port(environment: Mapping[str, str], default: int) -> int:
    text = environment.get("PLUGGABLY_PORT")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise StartupError("PLUGGABLY_PORT must be a port: a number from 0 to 65535.")
    return int(text)
