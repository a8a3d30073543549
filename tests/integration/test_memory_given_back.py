"""The allocator of a process that was really started over, and that its memory really comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
from pathlib import Path
from pluggably.memory import give_back, start_over

start_over()

def resident_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

before = resident_kib()
held = [[str(n)] for n in range(400_000)]
peak = resident_kib()
scattered = held[::4000]
del held
give_back()
print(os.getpid(), sys.argv[1:], os.environ.get("PYTHONMALLOC"), (resident_kib() - before) / (peak - before))
"""


def test_memory_comes_back() -> None:
    """Where few objects of many stay, nearly all memory is given back, by the same process with the same arguments."""
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except ValueError:
        pytest.skip("this system has another C library")
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell in /proc what a process holds")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONMALLOC"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "one", "two"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        told, _ = process.communicate(timeout=60)
    number, rest = told.split(" ", 1)
    assert int(number) == process.pid
    arguments, allocator, share = rest.rsplit(" ", 2)
    assert (arguments, allocator) == ("['one', 'two']", "None")
    assert float(share) < 0.2
