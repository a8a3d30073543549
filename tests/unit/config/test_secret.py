"""A secret stays out of everything that could be shown or sent."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from pluggably.config import Provider, Secret


def test_a_secret_is_only_shown_when_it_is_asked_for() -> None:
    """No way to print it prints it."""
    secret = Secret("sk-123")
    provider = Provider(api_key=secret)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{provider}", "%s" % secret]  # noqa: UP031
    assert not [text for text in shown if "sk-123" in text]
    assert secret.reveal() == "sk-123"


def test_a_secret_is_not_encoded() -> None:
    """It cannot leave the process in a message by mistake."""
    with pytest.raises(TypeError):
        msgspec.json.encode(Secret("x"))
    with pytest.raises(TypeError):
        pickle.dumps(Secret("x"))


def test_secrets_are_equal_by_value() -> None:
    """Two readings of one key are the same key."""
    assert Secret("ä") == Secret("ä") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a") != "a"
