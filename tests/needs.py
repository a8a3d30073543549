"""What a machine may lack, and what a test does then.

A test that needs a program or a package that is not here is skipped with the reason; but where CI is set in the
environment it fails, so that nothing is left out there without a word.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent


class Needs:
    """Finds what a test needs, or ends the test."""

    def program(self, name: str, hint: str) -> str:
        """The path of a program on the PATH. `hint` says how to get it."""
        return shutil.which(name) or self.missing(f"there is no program {name} on the PATH; {hint}")

    def package(self, name: str, hint: str) -> None:
        """Looks for a Python package."""
        if importlib.util.find_spec(name) is None:
            self.missing(f"there is no Python package {name}; {hint}")

    def npm_package(self, name: str) -> Path:
        """The folder of a package that `npm ci` installs."""
        folder = ROOT / "node_modules" / name
        return folder if folder.is_dir() else self.missing(f"there is no npm package {name}; `make setup` installs it")

    def llama_cpp(self) -> None:
        """Looks for something that runs GGUF files."""
        if importlib.util.find_spec("xllamacpp") is None and shutil.which("llama-server") is None:
            self.missing("there is no llama.cpp; `pip install xllamacpp`, or put `llama-server` on the PATH")

    def missing(self, what: str) -> NoReturn:
        if os.environ.get("CI"):
            pytest.fail(f"This test must not be left out where CI is set, and {what}.", pytrace=False)
        pytest.skip(what)
