"""AWS's shared files, `~/.aws/config` and `~/.aws/credentials`: profiles, and the sessions that they name.

What surprises: keys in the file of credentials stand over a program of the same profile, and the program over keys in
the file of the config. That is the order of AWS's own tools.

Source: docs.aws.amazon.com/sdkref/latest/guide/file-format.html and …/file-location.html (2026-11); the order of the
ways is botocore's (1.44.5).
"""

from __future__ import annotations

import configparser
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from pluggably.providers.aws_surroundings import Surroundings

Section: TypeAlias = Mapping[str, str]

_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


class SharedFiles(Struct, frozen=True):
    """Both files as one: the credentials over the config. `places` says where they are."""

    profiles: Mapping[str, Section]
    sso_sessions: Mapping[str, Section]
    places: str


def read_shared_files(around: Surroundings) -> SharedFiles:
    """Reads both; one that is not there is empty. Not for the event loop. Raises: BackendAuthenticationFailed."""
    config_path = _path(around, "AWS_CONFIG_FILE", "config")
    credentials_path = _path(around, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
    profiles: dict[str, dict[str, str]] = {}
    sessions: dict[str, Section] = {}
    for section, entries in _sections(around, config_path).items():
        kind, name = _named(section)
        if section == "default" or kind == "profile":
            profiles.setdefault(name or section, {}).update(entries)
        elif kind == "sso-session":
            sessions[name] = entries
    of_credentials = _sections(around, credentials_path)
    for name, entries in of_credentials.items():
        profiles.setdefault(name, {}).update(entries)
    for name, entry in profiles.items():
        if "credential_process" in entry and "aws_access_key_id" not in of_credentials.get(name, {}):
            for key in _KEYS:
                entry.pop(key, None)
    return SharedFiles(profiles, sessions, f"{credentials_path} or {config_path}")


def _named(section: str) -> tuple[str, str]:
    """`profile "my work"`: what the section is of, and the name, which may stand in quotes. One that is of no such form
    names nothing, and botocore leaves it out, too (configloader.py)."""
    try:
        kind, name = shlex.split(section)
    except ValueError:
        return "", ""
    return kind, name


def _sections(around: Surroundings, path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise around.refused(f"{path} cannot be read: {error.strerror}.") from None
    except (configparser.Error, ValueError):
        # The error's own text quotes the line, and the line may hold a key.
        raise around.refused(f"{path} is not of the form of a profile file.") from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _path(around: Surroundings, variable: str, name: str) -> Path:
    named = around.variable(variable)
    if named is None:
        return around.home() / ".aws" / name
    return around.home() / named[2:] if named.startswith("~/") else Path(named)
