"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from needs import Needs


@pytest.fixture(scope="session")
def needs() -> Needs:
    return Needs()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where a data directory may be made; it is not there yet."""
    return tmp_path / "data"
