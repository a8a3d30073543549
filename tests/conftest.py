"""Fixtures that all tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import hypothesis
import pytest
from needs import Needs

# What an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("pluggably", deadline=None)
hypothesis.settings.load_profile("pluggably")


# Whoever runs the tests with nohup, or in the background of a script, has these ignored, and what a test starts would
# inherit that.
for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def needs() -> Needs:
    return Needs()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where a data directory may be made; it is not there yet."""
    return tmp_path / "data"
