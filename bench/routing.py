"""Measures what routing adds to a plain request: many targets in place of one, and a first target that fails.

One gateway serves all models of the measurement, which take turns inside every round; each is compared with the route
of one target in the same round, so that what else the machine does falls on all of them alike. `--instructions` counts
instructions in place of time, under valgrind: slow, and nearly the same on any day. More: README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop
from load import quantile, request_bytes, run_load
from run import ADMIN_KEY, GATEWAY, Subject, cpu_seconds, free_port, mock_backend, show, show_ratios

TARGETS = 10
CONNECTIONS = 16
COUNTED = 320  # requests whose instructions are counted; a multiple of the connections
ONE = "one target"
# What is measured → the model that is asked for, and what else is asked.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    ONE: ("one", {}),
    "ten targets": ("ten", {}),
    "ten, by weight": ("ten-weight", {}),
    "ten, by price": ("ten-price", {}),
    "ten, by latency": ("ten-latency", {}),
    "ten, `routing.order`": ("ten", {"routing": {"order": ["p7", "remote"]}}),
    "one target, a temperature": ("one", {"parameters": {"temperature": 0.5}}),
    "ten targets, a temperature": ("ten", {"parameters": {"temperature": 0.5}}),
    "the first refuses the connection": ("refused", {}),
    "the first answers 503": ("busy", {}),
}
# The one that a case is compared with, where that is not the plain route of one target.
BESIDE = {"ten targets, a temperature": "one target, a temperature"}


def config_of(upstream: str) -> dict[str, Any]:
    def provider(base_url: str) -> dict[str, Any]:
        return {"codec": "openai", "base_url": base_url}

    names = [f"p{n}" for n in range(TARGETS)]
    ten = [f"{name}/bench" for name in names]
    return {
        "providers": {
            **{name: provider(f"{upstream}/v1") for name in names},
            "busy": provider(f"{upstream}/busy/v1"),
            "closed": provider(f"http://127.0.0.1:{free_port()}/v1"),
        },
        "models": {
            "one": {"targets": ten[:1]},
            "ten": {"targets": ten},
            "ten-weight": {"targets": [{"model": one, "weight": 1} for one in ten], "choose": "weight"},
            "ten-price": {"targets": ten, "choose": "price"},
            "ten-latency": {"targets": ten, "choose": "latency"},
            "refused": {"targets": ["closed/bench", ten[0]]},
            "busy": {"targets": ["busy/bench", ten[0]]},
        },
        "retry": {"attempts": 1, "breaker_failures": 0},
        "demo": False,
    }


class Gateway(Subject):
    """The gateway with the routes of this measurement; `wrapper` is a command to run it under."""

    wrapper: Sequence[str] = ()

    def command(self) -> list[str]:
        config = self.folder / "pluggably.yaml"
        # JSON is YAML.
        config.write_text(json.dumps(config_of(self.upstream)))
        serve = [sys.executable, "-m", "pluggably", "serve", "--config", str(config)]
        return [*self.wrapper, *serve, "--host", "127.0.0.1", "--port", str(self.port)]

    def asks(self, case: str) -> bytes:
        model, fields = CASES[case]
        return request_bytes(self.url, "native", False, ADMIN_KEY, model, **fields)


def ask(gateway: Gateway, case: str, connections: int, seconds: float) -> tuple[int, list[float]]:
    result = uvloop.run(run_load(gateway.url, gateway.asks(case), connections, seconds))
    if result.errors:
        raise SystemExit(f"{case}: {len(result.errors)} errors, the first: {result.errors[0]}")
    return result.requests, result.latencies_s


def measure(gateway: Gateway, rounds: int, seconds: float) -> str:
    cpu: dict[str, list[float]] = {case: [] for case in CASES}
    latency: dict[str, list[float]] = {case: [] for case in CASES}
    for case in CASES:
        ask(gateway, case, CONNECTIONS, seconds / 4)  # warm
    names = list(CASES)
    for number in range(rounds):
        sys.stderr.write(f"round {number + 1} of {rounds}\n")
        # Every second round goes the other way, so that no case always follows the same one.
        for case in names if number % 2 else reversed(names):
            before = cpu_seconds(gateway.pid)
            requests, _ = ask(gateway, case, CONNECTIONS, seconds)
            cpu[case].append((cpu_seconds(gateway.pid) - before) / requests * 1e6)
            _, latencies_s = ask(gateway, case, 1, seconds / 2)
            latency[case].append(quantile(latencies_s, 0.5) * 1000)
    lines = [
        f"{rounds} rounds of {seconds:g} s; Python {sys.version.split()[0]}, {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f}. Ratios: median (least-greatest) of the rounds.",
        "",
        f"| | CPU µs, {CONNECTIONS} connections | ÷ one target | latency p50 ms, 1 connection | added ms |",
        "|---|---:|---:|---:|---:|",
    ]
    for case in CASES:
        beside = BESIDE.get(case, ONE)
        ratios = [one / other for one, other in zip(cpu[case], cpu[beside], strict=True)]
        added = statistics.median(one - other for one, other in zip(latency[case], latency[beside], strict=True))
        cells = [case, show(statistics.median(cpu[case])), show_ratios(ratios)]
        lines.append(f"| {' | '.join([*cells, show(statistics.median(latency[case])), show(added)])} |")
    return "\n".join(lines)


def count(gateway: Gateway, folder: Path) -> str:
    """Instructions a request."""
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed")
    out = folder / "callgrind.out"
    gateway.wrapper = (
        "valgrind",
        "--tool=callgrind",
        f"--callgrind-out-file={out}",
        f"--log-file={folder}/valgrind.log",
    )
    totals: dict[str, float] = {}
    with gateway.running(folder / "output.log"):
        for case in CASES:
            ask_often(gateway, case)  # warm
            control(gateway, "--zero")
            ask_often(gateway, case)
            control(gateway, f"--dump={len(totals)}")
            totals[case] = dumped(folder, len(totals) + 1) / COUNTED
            sys.stderr.write(f"{case}: {totals[case]:,.0f}\n")
    lines = ["| | instructions a request | ÷ one target |", "|---|---:|---:|"]
    lines += [
        f"| {case} | {total:,.0f} | {total / totals[BESIDE.get(case, ONE)]:.3f} |" for case, total in totals.items()
    ]
    return "\n".join(lines)


def ask_often(gateway: Gateway, case: str) -> None:
    for _ in range(COUNTED // CONNECTIONS):
        ask(gateway, case, CONNECTIONS, 0)


def dumped(folder: Path, number: int) -> int:
    """The total of a dump, once it is written. The format: https://valgrind.org/docs/manual/cl-format.html"""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob("callgrind.out.*"):
            text = path.read_text()
            found = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
            if found and re.search(rf"^part: {number}$", text, re.MULTILINE):
                return int(found[1])
        time.sleep(0.1)
    raise SystemExit("valgrind wrote no count")


def control(gateway: Gateway, what: str) -> None:
    command = ["callgrind_control", what, str(gateway.pid)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    if "OK." not in said.stdout:  # it exits with 0 in any case
        raise SystemExit(f"callgrind_control {what}: {said.stdout}{said.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    parser.add_argument("--instructions", action="store_true", help="count instructions under valgrind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pluggably-bench-") as folder, ExitStack() as stack:
        log = Path(folder) / "output.log"
        gateway = Gateway(GATEWAY, "native", stack.enter_context(mock_backend(log)), Path(folder) / GATEWAY)
        if options.instructions:
            text = count(gateway, Path(folder))
        else:
            with gateway.running(log):
                text = measure(gateway, options.rounds, options.seconds)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
