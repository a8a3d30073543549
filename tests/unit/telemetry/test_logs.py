"""The log's lines. Each test's program runs in a process of its own, since logging is set up for a whole process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from pluggably.telemetry.logs import FIELDS

SECRET = "what-the-prompt-says"

_HEAD = """
import asyncio, io, logging, sys, warnings
import structlog
from pluggably.telemetry import logs
SECRET = "what-the-prompt-says"
log = structlog.get_logger()
"""


def output(program: str) -> str:
    """What a program that logs writes to standard error; it must end well and write nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", _HEAD + program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def lines(program: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output(program).splitlines()]


def test_a_line_is_one_json_object() -> None:
    """Time, level and event first, then the fields; what has no value is left out, and nothing breaks the line."""
    found = output(
        """
logs.configure(form="json")
log.info("request", request_id="req_1", status=200, code=None, duration_s=0.5, metadata={"a": "b\\nc"})
log.warning("odd", thing=object, when=None)
"""
    )
    first, second = found.splitlines()
    line = json.loads(first)
    assert list(line) == ["timestamp", "level", "event", "request_id", "status", "duration_s", "metadata"]
    assert (line["level"], line["event"], line["metadata"]) == ("info", "request", {"a": "b\nc"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", line["timestamp"])
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])).total_seconds()) < 60
    assert json.loads(second)["level"] == "warning"


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_a_level_leaves_out_what_is_below(level: str, events: list[str]) -> None:
    """Only lines of the level and above are written."""
    found = lines(
        f"""
logs.configure({level!r}, "json")
for name in ("debug", "info", "warning", "error"):
    getattr(log, name)(name)
"""
    )
    assert [line["event"] for line in found] == events


_BREAKS = """
def breaks():
    try:
        {}[SECRET]
    except KeyError as error:
        raise ValueError("wrong: " + SECRET) from error
try:
    breaks()
except ValueError:
    log.exception("internal_error", request_id="req_1")
logging.getLogger("library").error("it broke", exc_info=ValueError(SECRET))
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exceptions_text_is_not_told(form: str) -> None:
    """Its type and its way through the code are, and those of its causes; its words may be a client's."""
    found = output(f"logs.configure('info', {form!r})" + _BREAKS)
    assert SECRET not in found
    assert "ValueError" in found
    assert "KeyError" in found
    assert "breaks" in found
    assert "internal_error" in found
    assert "it broke" in found


def test_for_debugging_the_text_is_told() -> None:
    """An operator who asks for everything gets it."""
    assert SECRET in output("logs.configure('debug', 'json')" + _BREAKS)


def test_libraries_speak_the_same_form() -> None:
    """What the standard library's logging is told from a warning on comes as a line; anything below does not."""
    found = lines(
        """
logs.configure("info", "json")
library = logging.getLogger("some.library")
library.info("not this")
library.warning("but %s", "this")
"""
    )
    assert [(line["event"], line["library"], line["detail"]) for line in found] == [
        ("library", "some.library", "but this")
    ]


def test_text_is_for_people() -> None:
    """Text names the event and its fields on one line, without colours where there is no terminal."""
    found = output("logs.configure(form='text')\nlog.info('started', url='http://x')")
    assert found.count("\n") == 1
    assert "started" in found
    assert "http://x" in found
    assert "\x1b" not in found


def test_text_steers_no_terminal() -> None:
    """What a client named, or a server answered, is one line of marks and letters; an exception keeps its lines."""
    found = output(
        "logs.configure(form='text')\n"
        "log.info('a\\x1b[2J', model='m\\x1b]0;x\\x07', line='1\\n2\\r3\\x9b', metadata={'k': '\\x1b[1m'})\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('broke')"
    )
    assert [c for c in found if not c.isprintable() and c != "\n"] == []
    first, *rest = found.splitlines()
    assert "model=m\N{REPLACEMENT CHARACTER}]0;x" in first and "broke" in rest[0]
    assert len(rest) > 2


def test_without_a_terminal_auto_is_json() -> None:
    """A service's log is for machines unless somebody looks on."""
    assert lines("logs.configure()\nlog.info('started')")[0]["event"] == "started"


def test_lines_keep_their_order() -> None:
    """Lines that wait and lines that do not come out in the order in which they were written."""
    found = lines(
        """
logs.configure(form="json")
async def main():
    for number in range(20):
        (log.warning if number % 5 == 4 else log.info)("line", number=number)
        await asyncio.sleep(0)
asyncio.run(main())
"""
    )
    assert [line["number"] for line in found] == list(range(20))


def test_lines_that_wait_are_written_soon() -> None:
    """What is logged inside a running loop is there a moment later, without another line to push it."""
    found = output(
        """
out = io.StringIO()
logs.configure("info", "json", out)
async def main():
    log.info("one")
    log.info("two")
    while out.getvalue().count("\\n") < 2:
        await asyncio.sleep(0.005)
asyncio.run(asyncio.wait_for(main(), 10))
"""
    )
    assert found == ""


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    """A closed pipe, a full disk: the gateway goes on."""
    output(
        """
class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")
logs.configure("info", "json", Full())
log.warning("one")
log.info("two")
closed = io.StringIO()
logs.configure("info", "json", closed)
closed.close()
structlog.get_logger().warning("three")
"""
    )


def test_a_log_that_nobody_reads_does_not_keep_the_process() -> None:
    """A pipe that is full and open holds up the log's thread, and not the end of the process."""
    program = """
logs.configure(form="json")
for number in range(3000):
    log.warning("line", number=number, filling="x" * 100)
"""
    process = subprocess.Popen([sys.executable, "-c", _HEAD + program], stderr=subprocess.PIPE)
    try:
        assert process.wait(20) == 0
    finally:
        process.kill()
        assert process.stderr is not None
        process.stderr.close()


def test_threads_may_log_at_once() -> None:
    """Lines from several threads are all there, and none is broken."""
    found = lines(
        """
import threading
logs.configure(form="json")
def speak(number):
    for turn in range(200):
        (log.info if turn % 3 else log.warning)("line", number=number, turn=turn)
threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    assert len(found) == 800
    assert {(line["number"], line["turn"]) for line in found} == {(n, t) for n in range(4) for t in range(200)}


def test_the_fields_are_explained() -> None:
    """Every shared field has a meaning; none is one that could hold what was said."""
    assert all(FIELDS.values())
    assert not {"prompt", "input", "output", "body", "key", "secret", "authorization"} & set(FIELDS)


_REQUEST = """
line = logs.RequestLine(request_id="req_1", status=200, duration_s=0.5, metadata={"a": "b\\nc"})
logs.write_request(line)
logs.write_request(logs.RequestLine(request_id="req_2"), is_quiet=True)
"""


def test_a_requests_line_is_like_any_other() -> None:
    """What takes the short way has the same fields in the same order as an event's line; a quiet one is left out."""
    (line,) = lines('logs.configure("info", "json")' + _REQUEST)
    assert list(line) == ["timestamp", "level", "event", "request_id", "status", "duration_s", "metadata"]
    assert (line["level"], line["event"], line["metadata"]) == ("info", "request", {"a": "b\nc"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", line["timestamp"])


def test_a_requests_line_keeps_to_level_and_form() -> None:
    """At `debug` the quiet ones are there, at `warning` none is, and on a terminal it is text."""
    found = lines('logs.configure("debug", "json")' + _REQUEST)
    assert [(line["level"], line["request_id"]) for line in found] == [("info", "req_1"), ("debug", "req_2")]
    assert output('logs.configure("warning", "json")' + _REQUEST) == ""
    text = output('logs.configure("info", "text")' + _REQUEST)
    assert "req_1" in text and "req_2" not in text and "{" in text.partition("metadata")[2]
