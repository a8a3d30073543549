"""Measures the real `pluggably serve` between a load generator and a mock backend, beside two baselines.

Here live: starting and ending the processes, the order of the measurements, and the report. The subjects
take turns inside every round, and ratios are made round by round before their median is taken: what else the
machine does then falls on all of them alike. How to run it and how to read it: README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from load import Api, Result, quantile, request_bytes, run_load, tokens_of

HERE = Path(__file__).parent
ADMIN_KEY = "bench-admin-key-of-at-least-32-characters"
START_LIMIT_S = 60.0
STREAMS = 16
# The rows of the report, in this order, by how their names begin.
ROWS = ("CPU", "added", "latency", "first token", "plain requests", "memory", "start-up")

Row = dict[str, float]  # subject → value
DIRECT, GATEWAY, PASSTHROUGH, NGINX = "direct", "gateway", "pass-through", "nginx"
# The gateway on Python's own allocator, which keeps what a flood of requests has left behind.
GATEWAY_PYMALLOC = "gateway-pymalloc"
GATEWAYS = (GATEWAY, GATEWAY_PYMALLOC)


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int
    seconds: float  # of one plain measurement
    stream_seconds: float
    events: int  # of one stream
    interval_ms: float  # between two events of a stream
    many_streams: int
    many_events: int
    many_interval_ms: float


FULL = Plan(5, 3.0, 4.0, 256, 2.0, 1000, 30, 200.0)
QUICK = Plan(2, 0.7, 1.0, 128, 2.0, 200, 20, 50.0)


# --- processes -------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def process_tree(root: int) -> list[int]:
    """The process and all its descendants, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree.

    It is the utime + stime of /proc/<pid>/stat, but in nanoseconds, where /proc counts ticks of 10 ms.
    Source: clock_getcpuclockid(3); the kernel encodes the clock of a process as `~pid << 3 | 2`
    (CPUCLOCK_SCHED in linux/posix-timers_types.h).
    """
    total = 0.0
    for pid in process_tree(root):
        with suppress(OSError):  # it ended meanwhile
            total += time.clock_gettime((~pid << 3) | 2)
    return total


def memory_mib(root: int, name: str = "VmRSS") -> float:
    total_kib = 0
    for pid in process_tree(root):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(f"{name}:"):
                    total_kib += int(line.split()[1])
    return total_kib / 1024


@dataclass
class Subject:
    """One thing to measure; `start` is called once a round."""

    name: str
    api: Api
    upstream: str
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    start_s: float = 0.0

    @property
    def url(self) -> str:
        return self.upstream if self.name == DIRECT else f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def request(self, stream: bool) -> bytes:
        return request_bytes(self.url, self.api, stream, ADMIN_KEY if self.name in GATEWAYS else None)

    def command(self) -> list[str]:
        if self.name == PASSTHROUGH:
            script = str(HERE / "passthrough.py")
            return [sys.executable, script, "--port", str(self.port), "--upstream", self.upstream]
        if self.name == NGINX:
            text = (HERE / "nginx.conf.template").read_text()
            text = text.replace("@PORT@", str(self.port)).replace("@UPSTREAM@", self.upstream.partition("//")[2])
            config = self.folder / "nginx.conf"
            config.write_text(text)
            return ["nginx", "-p", str(self.folder), "-c", str(config), "-e", "stderr"]
        config = self.folder / "pluggably.yaml"
        # JSON is YAML.
        config.write_text(json.dumps({"providers": {"mock": {"codec": "openai", "base_url": f"{self.upstream}/v1"}}}))
        serve = [sys.executable, "-m", "pluggably", "serve", "--config", str(config)]
        return [*serve, "--host", "127.0.0.1", "--port", str(self.port)]

    @contextmanager
    def running(self, log: Path) -> Iterator[None]:
        """Starts it with an empty folder and waits until it is ready; ends it, and only it, afterwards."""
        if self.name == DIRECT:
            yield
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.port = free_port()
        environment = {
            **os.environ,
            "PLUGGABLY_DATA_DIR": str(self.folder / "data"),
            "PLUGGABLY_ADMIN_KEY": ADMIN_KEY,
            **({"PYTHONMALLOC": "pymalloc"} if self.name == GATEWAY_PYMALLOC else {}),
        }
        started = time.perf_counter()
        with log.open("ab") as output:
            self.process = subprocess.Popen(self.command(), env=environment, stdout=output, stderr=output)
        try:
            wait_until_ready(self.url, self.process, log)
            self.start_s = time.perf_counter() - started
            yield
        finally:
            end(self.process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1):
                return
        except OSError:  # refused, or 503 while it starts
            time.sleep(0.005)
    raise SystemExit(f"{process.args!r} did not become ready; its output:\n{log.read_text()[-2000:]}")


@contextmanager
def mock_backend(log: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, str(HERE / "mock_backend.py"), "--port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


def set_profile(upstream: str, events: int, interval_ms: float) -> None:
    body = json.dumps({"events": events, "interval_ms": interval_ms}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{upstream}/profile", data=body), timeout=5).close()


# --- measurements ----------------------------------------------------------------------------------------


def load(subject: Subject, stream: bool, connections: int, seconds: float, keep: bool = False) -> Result:
    result = uvloop.run(run_load(subject.url, subject.request(stream), connections, seconds, keep=keep))
    if result.errors:
        raise SystemExit(f"{subject.name}: {len(result.errors)} errors, the first: {result.errors[0]}")
    return result


def check(subject: Subject, plan: Plan) -> None:
    """Nothing is measured that does not answer rightly."""
    answer = load(subject, False, 1, 0, keep=True).answers[0]
    if b"w0 w1 w2 " not in answer:
        raise SystemExit(f"{subject.name} answered {answer[:400]!r}")
    tokens = tokens_of(load(subject, True, 1, 0, keep=True).answers[0])
    if tokens != [f"w{n}" for n in range(plan.events)]:
        raise SystemExit(f"{subject.name} streamed {tokens[:20]}…, {len(tokens)} tokens")


@dataclass
class Table:
    """Every measured value: row name → one entry a round."""

    rounds: dict[str, list[Row]] = field(default_factory=dict)

    def put(self, row: str, round_number: int, subject: str, value: float) -> None:
        entries = self.rounds.setdefault(row, [])
        while len(entries) <= round_number:
            entries.append({})
        entries[round_number][subject] = value

    def median(self, row: str, subject: str) -> float:
        values = [entry[subject] for entry in self.rounds[row] if subject in entry]
        return statistics.median(values) if values else float("nan")

    def ratios(self, row: str, of: str, to: str) -> list[float]:
        entries = [entry for entry in self.rounds[row] if of in entry and entry.get(to, 0) > 0]
        return [entry[of] / entry[to] for entry in entries]


def measure_round(table: Table, number: int, subjects: Sequence[Subject], plan: Plan) -> None:
    turn = [*subjects[number % len(subjects) :], *subjects[: number % len(subjects)]]
    for subject in turn:
        if subject.name != DIRECT:
            table.put("memory at rest, MiB", number, subject.name, memory_mib(subject.pid))
            table.put("start-up with an empty data folder, s", number, subject.name, subject.start_s)
        check(subject, plan)
        load(subject, False, 16, plan.seconds / 4)  # warm
    for connections in (1, 16, 64):
        for subject in turn:
            measure_plain(table, number, subject, connections, plan)
    for subject in turn:
        measure_streams(table, number, subject, plan)
    for row in [row for row in table.rounds if row.startswith(("latency", "first token"))]:
        entry = table.rounds[row][number]
        for name, value in entry.items():
            if name != DIRECT:
                table.put(f"added {row}", number, name, value - entry[DIRECT])


def measure_plain(table: Table, number: int, subject: Subject, connections: int, plan: Plan) -> None:
    before = cpu_seconds(subject.pid) if subject.process else 0.0
    result = load(subject, False, connections, plan.seconds)
    where = f"{connections} connection{'s' * (connections > 1)}"
    if subject.process:
        used = cpu_seconds(subject.pid) - before
        table.put(f"CPU of a plain request, {where}, µs", number, subject.name, used / result.requests * 1e6)
    table.put(f"plain requests a second, {where}", number, subject.name, result.requests / result.wall_s)
    if connections == 1:
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            value = quantile(result.latencies_s, share) * 1000
            table.put(f"latency {label}, {where}, ms", number, subject.name, value)


def measure_streams(table: Table, number: int, subject: Subject, plan: Plan) -> None:
    before = cpu_seconds(subject.pid) if subject.process else 0.0
    result = load(subject, True, STREAMS, plan.stream_seconds)
    if subject.process:
        used = cpu_seconds(subject.pid) - before
        per_event = used / (result.requests * plan.events) * 1e6
        table.put(f"CPU of a streamed event, {STREAMS} streams, µs", number, subject.name, per_event)
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        value = quantile(result.first_s, share) * 1000
        table.put(f"first token {label}, {STREAMS} streams, ms", number, subject.name, value)


def measure_many(subject: Subject, plan: Plan) -> str:
    """Many streams at once: every event, in order."""
    before = memory_mib(subject.pid)
    result = uvloop.run(run_load(subject.url, subject.request(True), plan.many_streams, 0, keep=True))
    expected = [f"w{n}" for n in range(plan.many_events)]
    in_order = sum(tokens_of(answer) == expected for answer in result.answers)
    time.sleep(10)  # idle connections are closed after 4 s, and memory is given back 6 s after a flood
    after, peak = memory_mib(subject.pid), memory_mib(subject.pid, "VmHWM")
    cells = [
        subject.name,
        f"{in_order} of {plan.many_streams}",
        str(len(result.errors)),
        f"{result.wall_s:.1f}",
        f"{quantile(result.first_s, 0.99) * 1000:.0f}",
        f"{before:.0f} → {peak:.0f} → {after:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


# --- the report ------------------------------------------------------------------------------------------


def show(value: float) -> str:
    if value != value:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def show_ratios(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def report(table: Table, names: Sequence[str], plan: Plan) -> str:
    measured = next(name for name in (*GATEWAYS, PASSTHROUGH, NGINX) if name in names)
    others = [name for name in (PASSTHROUGH, NGINX) if name in names and name != measured]
    head = ["median of rounds", *names, *(f"{measured} ÷ {other}" for other in others)]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    order = {row: [row.startswith(start) for start in ROWS].index(True) for row in table.rounds}
    for row in sorted(table.rounds, key=order.__getitem__):
        cells = [show(table.median(row, name)) for name in names]
        cells += [show_ratios(table.ratios(row, measured, other)) for other in others]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    about = (
        f"{plan.rounds} rounds; streams of {plan.events} events, {plan.interval_ms:g} ms apart; Python "
        f"{sys.version.split()[0]}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}. "
        "Ratios: median (least-greatest) of the rounds."
    )
    return "\n".join([about, "", *lines])


def many_head(plan: Plan) -> str:
    pace = f"{plan.many_events} events each, {plan.many_interval_ms:g} ms apart"
    title = f"{plan.many_streams} streams at once, {pace}:"
    head = "| | complete and in order | errors | took s | first token p99 ms | MiB before → peak → after |"
    return f"{title}\n\n{head}\n|---|---:|---:|---:|---:|---:|"


def progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="half a minute, for a first look")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--subjects", default=f"{GATEWAY},{PASSTHROUGH},{NGINX}", help="which, by comma")
    parser.add_argument("--out", type=Path, help="write the report there as well")
    parser.add_argument("--json", type=Path, help="write every round's values there")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    if options.rounds:
        plan = Plan(**{**plan.__dict__, "rounds": options.rounds})
    names = options.subjects.split(",")
    if NGINX in names and shutil.which("nginx") is None:
        progress("nginx is not installed; measuring without it")
        names.remove(NGINX)
    unknown = set(names) - {*GATEWAYS, PASSTHROUGH, NGINX}
    if unknown:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    # Each stream is two connections, and the children inherit the limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))
    text = measure(names, plan, options.json)
    sys.stdout.write(text + "\n")
    if options.out:
        options.out.write_text(text + "\n")


def measure(names: Sequence[str], plan: Plan, raw: Path | None) -> str:
    table = Table()
    many: list[str] = []
    with tempfile.TemporaryDirectory(prefix="pluggably-bench-") as folder, ExitStack() as stack:
        log = Path(folder) / "output.log"
        upstream = stack.enter_context(mock_backend(log))
        subjects = [Subject(DIRECT, "openai", upstream, Path(folder) / DIRECT)]
        for name in names:
            api: Api = "native" if name in GATEWAYS else "openai"
            subjects.append(Subject(name, api, upstream, Path(folder) / name))
        for number in range(plan.rounds):
            progress(f"round {number + 1} of {plan.rounds}")
            set_profile(upstream, plan.events, plan.interval_ms)
            with ExitStack() as running:
                for subject in subjects:
                    running.enter_context(subject.running(log))
                measure_round(table, number, subjects, plan)
        progress(f"{plan.many_streams} streams at once")
        set_profile(upstream, plan.many_events, plan.many_interval_ms)
        for subject in subjects[1:]:
            with subject.running(log):
                many.append(measure_many(subject, plan))
    if raw:
        raw.write_text(json.dumps(table.rounds, indent=1, ensure_ascii=False))
    return "\n".join([report(table, [DIRECT, *names], plan), "", many_head(plan), *many])


if __name__ == "__main__":
    main()
