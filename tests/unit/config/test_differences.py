"""What differs between two configs, in words."""

from __future__ import annotations

import pytest
from reading import config

from pluggably.config.differences import RESTART_KEYS, Differences, differences
from pluggably.config.schema import Config

OLD = """
server: {port: 1, max_nesting: 10}
providers: {openai: {api_key: old-key, headers: {X: old-header}}, box: {preset: ollama}, gone: {preset: ollama}}
models: {a: {weights: "file:a"}, r: {targets: [a, demo]}, s: a, t: a, gone: {weights: "file:x"}}
"""
NEW = """
server: {port: 2, max_nesting: 11}
retry: {attempts: 5}
inputs: {allow_hosts: [box]}
log: {level: debug}
providers: {openai: {api_key: new-key, headers: {X: new-header}}, box: {preset: ollama}, more: {preset: ollama}}
models: {a: {weights: "file:a", slots: 3}, r: {targets: [demo], choose: price}, s: demo, t: {targets: [a]}, u: a}
demo: true
model_folders: [/models]
"""


def test_nothing_differs_between_a_config_and_itself() -> None:
    """A file with other comments and another order of keys is the same config."""
    assert differences(config(OLD), config(OLD + "# more\ndemo: true")) == Differences()
    assert not differences(Config(), Config())


def test_what_differs_is_told_in_words() -> None:
    """What is taken over, and what waits for a restart; of secrets, that they changed."""
    found = differences(config(OLD), config(NEW))
    assert found.taken == (
        "server.max_nesting: 10 → 11",
        "retry.attempts: 2 → 5",
        "inputs.allow_hosts: [] → ['box']",
        "provider openai changed (api_key, headers)",
        "provider gone removed",
        "provider more added",
        "model a changed (slots)",
        "route r changed (targets, choose)",
        "alias s changed",
        "alias t is now: route",
        "model gone removed",
        "alias u added",
        "model_folders changed",
    )
    assert found.needs_restart == ("server.port: 1 → 2", "log.level: info → debug")


@pytest.mark.parametrize("place", sorted(RESTART_KEYS))
def test_the_keys_that_need_a_restart_exist(place: str) -> None:
    """A key that is renamed must be renamed there too."""
    section, key = place.split(".")
    assert hasattr(getattr(Config(), section), key)


def test_no_value_of_a_provider_or_model_is_told() -> None:
    """Keys, headers, options, commands: any of them may hold a secret."""
    old = "providers: {openai: {api_key: sekrit1, options: {stop_limit: 77}}}\nmodels: {m: {runner: command, command: "
    old += "[sekrit2]}}"
    new = old.replace("sekrit", "hidden").replace("77", "88")
    told = str(differences(config(old), config(new)))
    assert "api_key, options" in told
    assert not any(word in told for word in ("sekrit", "hidden", "77", "88"))
