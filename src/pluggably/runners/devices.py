"""What of this machine workers may use, and what they hold. So far the processor and memory; GPUs will be told
of here too.

What surprises: inside a container the number of cores that the system tells is the host's; what counts there is the
control group's quota, and a worker with 64 threads on a quota of 2 cores crawls.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP_ROOT) -> int:
    """How many cores this process may keep busy, at least one.

    Source: the kernel's cgroup-v2.rst (`cpu.max`: quota and period, or `max`), and for version 1 sched-bwc.rst
    (a quota of -1 is none)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):
            quota, period = " ".join((cgroup / name).read_text() for name in files).split()
            if quota != "max" and int(quota) > 0 and int(period) > 0:
                return max(1, min(cores, math.ceil(int(quota) / int(period))))
    return max(1, cores)


def memory_bytes(pid: int) -> int | None:
    """What a process and its children hold in RAM; None where this system does not say.

    Source: proc(5): the second number of `statm` is the resident set in pages; `children` lists a thread's."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    total = 0
    pids = [pid]
    try:
        while pids:
            root = Path("/proc", str(pids.pop()))
            total += int((root / "statm").read_text().split()[1]) * page_bytes
            for thread in (root / "task").iterdir():
                pids += [int(child) for child in (thread / "children").read_text().split()]
    except (OSError, ValueError, IndexError):
        return total or None
    return total
