"""The package in docs/writing-a-codec.md is one: it is installed from the page, and passes the suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-codec.md"
FENCED = re.compile(r"^```\w+\n(?:# |// )([\w./]+\.\w+)\n(.*?)^```", re.M | re.S)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The files of the page."""
    for name, text in FENCED.findall(PAGE.read_text("utf-8")):
        path = tmp_path / "parrot" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "parrot"


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_package_of_the_page_is_installed_and_passes_the_suite(package: Path, tmp_path: Path) -> None:
    """As anybody's would be: by pip, found by its entry point."""
    site = tmp_path / "site"
    run(
        "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--target", site, ".", folder=package
    )
    (package / "pluggably_parrot.py").unlink()  # what is tested is what was installed
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_parrot.py", folder=package, PYTHONPATH=str(site))
    assert "3 passed" in told
