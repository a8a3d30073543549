"""How the command line reaches a gateway: the one that was named, the one that runs here, or one started for it.

Plain `http.client`, no event loop: one request at a time needs no more, and it is imported in a tenth of the time.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote, urlsplit

from pluggably.config import Secret
from pluggably.errors import PluggablyError
from pluggably.storage.datadir import LocalCredential, lock_owner, read_local_credential

# Above the 15 s after which a gateway sends a keep-alive comment, so a silence this long means that it is gone.
SILENCE_S = 60.0
PROBE_S = 2.0
START_S = 60.0
OTHER_START_S = 10.0
STOP_S = 40.0


class ConnectionFailed(PluggablyError):
    """No gateway could be asked."""

    title = "The gateway could not be asked"


class Refused(PluggablyError):
    """The gateway answered with an error. `detail` has its words."""

    title = "The gateway refused"


class GatewayClient:
    """Asks one gateway."""

    def __init__(self, url: str, key: Secret | None) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in ("http", "https") or not parts.hostname or (port is None and ":" in parts.netloc[-6:-1]):
            raise ConnectionFailed(f"{url} is not the URL of a gateway, such as http://127.0.0.1:8080.")
        self.url = url.rstrip("/")
        self._parts = parts
        self._key = key

    def is_alive(self) -> bool:
        """Whether a gateway answers there, and takes the key."""
        try:
            with self._answer("GET", "/v1/me" if self._key else "/healthz", None, PROBE_S):
                return True
        except PluggablyError:
            return False

    def get(self, path: str) -> Any:
        """One resource of the API. Raises: ConnectionFailed, Refused."""
        with self._answer("GET", path, None, SILENCE_S) as answer:
            return json.load(answer)

    def check_ready(self) -> str | None:
        """What is amiss although it serves. Raises: Refused where it cannot serve now, ConnectionFailed."""
        with self._answer("GET", "/readyz", None, PROBE_S) as answer:
            try:
                detail = json.load(answer)["detail"]
            except (ValueError, KeyError, TypeError):  # another gateway's
                return None
        return detail if isinstance(detail, str) else None

    def list(self, path: str) -> tuple[list[Any], list[Any]]:
        """Everything that a list of the API holds, page by page, and the last page's warnings.

        Raises: ConnectionFailed, Refused."""
        entries: list[Any] = []
        cursor = None
        while True:
            query = f"?cursor={quote(cursor)}" if cursor is not None else ""
            with self._answer("GET", path + query, None, SILENCE_S) as answer:
                page = json.load(answer)
            entries += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return entries, page.get("warnings", [])

    def events(self, request: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """The events of one generation, by name. Raises: ConnectionFailed, Refused."""
        body = json.dumps({**request, "stream": True}).encode()
        with self._answer("POST", "/v1/generations", body, SILENCE_S) as answer:
            try:
                yield from read_events(answer)
            except (OSError, http.client.HTTPException) as error:
                raise ConnectionFailed(f"The connection to {self.url} broke: {_reason(error)}.") from None

    @contextmanager
    def _answer(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=timeout_s)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        try:
            try:
                connection.request(method, self._parts.path.rstrip("/") + path, body, headers)
                answer = connection.getresponse()
                if answer.status >= 400:
                    raise _refusal(answer)
            except (OSError, http.client.HTTPException) as error:
                raise ConnectionFailed(f"No gateway answers at {self.url}: {_reason(error)}.") from None
            yield answer
        finally:
            connection.close()


def read_events(lines: BinaryIO | http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Server-sent events as the gateway frames them: a name, and one JSON object.

    Raises: ConnectionFailed where the stream ends without its last event."""
    name, data = "", b""
    for line in lines:
        line = line.rstrip(b"\r\n")
        if line.startswith(b"event:"):
            name = line[6:].strip().decode()
        elif line.startswith(b"data:"):
            data += line[5:].strip()
        elif not line and data:
            yield name, json.loads(data)
            if name in ("generation.completed", "generation.failed", "generation.cancelled"):
                return
            name, data = "", b""
    raise ConnectionFailed("The gateway's answer broke off before its end.")


def _refusal(answer: http.client.HTTPResponse) -> Refused:
    try:
        problem = json.loads(answer.read(1 << 20))
        if "code" not in problem:  # a gateway that is not ready tells it without one
            return Refused(problem["detail"])
        # Where one thing alone is wrong, `detail` says it already.
        more = [one for one in problem["errors"] if one["detail"] not in problem["detail"]]
        words = [problem["detail"], *(f"{one['pointer']}: {one['detail']}" for one in more)]
        return Refused(f"{'; '.join(words)} ({problem['code']})")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refused(f"The answer was {answer.status} {answer.reason}. Is this a gateway?")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# ── which gateway ─────────────────────────────────────────────────────────────────────────────────────────────────


class StartedGateway:
    """A gateway that runs only for as long as this is entered. It uses the same data directory and config as one that
    is started by hand, so it knows the same models."""

    def __init__(self, data_dir: Path, arguments: Sequence[str], start_s: float = START_S) -> None:
        self._data_dir = data_dir
        self._command = [sys.executable, "-m", "pluggably", "serve", "--host", "127.0.0.1", "--port", "0"]
        self._command += ["--data-dir", str(data_dir), *arguments]
        self._start_s = start_s
        self._process: subprocess.Popen[bytes] | None = None
        self._handlers_before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> LocalCredential:
        """Raises: ConnectionFailed with the gateway's own words where it does not start."""
        # These would end us before we have stopped it: `timeout 5 pluggably run …`, or a terminal that is closed.
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._handlers_before[number] = signal.signal(number, _exit)
        with tempfile.TemporaryFile() as words:
            # A session of its own: Ctrl-C is for us, and we then stop it in order.
            self._process = subprocess.Popen(  # noqa: S603  our own command line
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words, start_new_session=True
            )
            try:
                return self._started(self._process, words)
            except BaseException:
                self._stop()
                raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _started(self, process: subprocess.Popen[bytes], words: BinaryIO) -> LocalCredential:
        deadline = time.monotonic() + self._start_s
        has_ended = False
        while time.monotonic() < deadline:
            credential = read_local_credential(self._data_dir)
            if credential is not None and _client(credential).is_alive():
                return credential
            if process.poll() is not None and not has_ended:
                has_ended = True
                # Where another gateway took the directory just before ours, that one will soon be there to ask.
                is_taken = lock_owner(self._data_dir) not in (None, process.pid)
                deadline = time.monotonic() + (OTHER_START_S if is_taken else 0)
            time.sleep(0.02)
        if process.poll() is None:
            raise ConnectionFailed(f"No gateway runs here; one was started, and was not ready in {self._start_s:g} s.")
        words.seek(0)
        said = words.read(1 << 16).decode("utf-8", "replace").strip() or "It ended without a word."
        raise ConnectionFailed(f"No gateway runs here, and one could not be started:\n{said}")

    def _stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)


def _exit(number: int, _: object) -> NoReturn:
    """Ends the process with the status that shells give to one that a signal ended."""
    sys.exit(128 + number)


@contextmanager
def gateway(
    *, url: str | None, key: Secret | None, data_dir: Path, configured_url: str, arguments: Sequence[str] = ()
) -> Iterator[GatewayClient]:
    """A gateway to ask, in this order: the one at `url`; the one that runs with this data directory; with a `key`, one
    at the configured address; else one that is started for as long as it is needed.

    `arguments` are for the one that is started. Raises: ConnectionFailed."""
    if url is not None:
        yield GatewayClient(url, key)
        return
    running = read_local_credential(data_dir)
    if running is not None and _client(running).is_alive():
        yield GatewayClient(running.url, key or Secret(running.key))
        return
    if key is not None:
        configured = GatewayClient(configured_url, key)
        if configured.is_alive():
            yield configured
            return
    with StartedGateway(data_dir, arguments) as started:
        yield _client(started)


def running_gateway(url: str | None, data_dir: Path) -> GatewayClient:
    """The gateway at `url`, or the one that runs with this data directory. Raises: ConnectionFailed."""
    if url is not None:
        return GatewayClient(url, None)
    running = read_local_credential(data_dir)
    if running is None:
        raise ConnectionFailed(f"No gateway runs with the data directory {data_dir}.")
    return GatewayClient(running.url, None)


def _client(credential: LocalCredential) -> GatewayClient:
    return GatewayClient(credential.url, Secret(credential.key))
