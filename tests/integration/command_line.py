"""The command, run as an operator runs it, but with nothing of this machine's environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


class CommandLine:
    """Runs the command in an environment of its own; `before` is what every call begins with."""

    def __init__(self, folder: Path, *before: str) -> None:
        self.folder = folder
        self._before = before
        self.environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """The standard output and the standard error of a command that ends with `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "pluggably", *self._before, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr
