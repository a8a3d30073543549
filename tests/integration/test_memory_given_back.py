"""On the C library's allocator, memory really comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from pathlib import Path
from pluggably.memory import give_back

def resident_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

before = resident_kib()
held = [[str(n)] for n in range(400_000)]
peak = resident_kib()
scattered = held[::4000]
del held
give_back()
print((resident_kib() - before) / (peak - before))
"""


def test_memory_comes_back() -> None:
    """Where few objects of many stay, nearly all memory is given back."""
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
    except ValueError:
        pytest.skip("this system has another C library")
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell in /proc what a process holds")
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=True)
    assert float(told.stdout) < 0.2
