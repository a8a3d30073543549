"""The config: its shape, how it is read, and what the gateway is started with. The only reader of the
environment."""

from pluggably.config.document import ConfigError, Issue
from pluggably.config.load import LoadedConfig, load_config, parse_config
from pluggably.config.references import References
from pluggably.config.schema import Config, Log, ModelEntry, Provider, Server, TimeoutLimits
from pluggably.config.secret import Secret
from pluggably.config.settings import (
    Flags,
    Settings,
    client_settings,
    data_directory,
    load_settings,
    process_environment,
)
from pluggably.config.vocabulary import Vocabulary

__all__ = [
    "Config",
    "ConfigError",
    "Flags",
    "Issue",
    "LoadedConfig",
    "Log",
    "ModelEntry",
    "Provider",
    "References",
    "Secret",
    "Server",
    "Settings",
    "TimeoutLimits",
    "Vocabulary",
    "client_settings",
    "data_directory",
    "load_config",
    "load_settings",
    "parse_config",
    "process_environment",
]
