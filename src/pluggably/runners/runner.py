"""What the author of a runner writes, and nothing else: describe a model, and say how its server is started.

A runner here is somebody's server, started by us: it never touches a process itself. `runners.supervisor` starts what
`launch` returns, `runners.pool` decides when. What surprises: `describe` and `launch` are called in a worker thread,
may read files, and must not start anything. Plugins register in the entry-point group `pluggably.runners` and are
constructed without arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from msgspec import Struct

from pluggably.domain.catalog import Description, LocalModel


class Placement(Struct, frozen=True, kw_only=True):
    """What the pool decides for one start: a loopback port that was free a moment ago, a secret that nobody else
    knows, the number of threads that is this worker's share of the machine, and the process that must stay alive."""

    port: int
    secret: str
    threads: int
    parent_pid: int


# `announced`: the worker prints one JSON line, {"ready": url} or {"error": text}, on its standard output.
# `chosen`: it listens on the port of the placement.
AddressKnownBy: TypeAlias = Literal["announced", "chosen"]


class Launch(Struct, frozen=True, kw_only=True):
    """How one worker is started and reached.

    `env` is added to a small part of the gateway's own environment (see `supervisor.inherited`). `settings` is
    written to the standard input, which then stays open: its end means that the gateway is gone. A `guarded` command
    is started by `runners.guard`, which ends it with the gateway; only a program that does this by itself may go
    without. The worker is ready when a GET on `ready_path` answers 200. `base_path` is what the codec's calls come
    after, and `model` the worker's own id for the model. `headers` let us in, and are the only place for a secret
    besides `env` and `settings`: a command line can be read by everyone on the machine. `start_timeout_s` overrides
    the pool's limit for the whole start.
    """

    command: Sequence[str]
    env: Mapping[str, str] = {}
    settings: bytes = b""
    guarded: bool = True
    address: AddressKnownBy = "chosen"
    ready_path: str = "/health"
    base_path: str = "/v1"
    model: str
    codec: str = "openai"
    codec_options: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    always_streams: bool = False
    start_timeout_s: float | None = None


class ServerRunner(Protocol):
    """A runner whose worker is a server that speaks a wire.

    A runner that is a Python class (load, generate, unload) will stand beside this one, served by a host process of
    ours; towards the pool that host is a `ServerRunner` too.
    """

    Options: ClassVar[type[Struct]]
    """What an operator may set in a model's `options`; decoded strictly, so it forbids unknown fields."""

    def describe(self, model: LocalModel, options: Any, /) -> Description:
        """What is known before a start. Raises: ModelUnavailable (missing, truncated or foreign weights, or the
        engine is not installed), InvalidRequest (options that do not fit these weights)."""
        ...

    def launch(self, model: LocalModel, options: Any, description: Description, placement: Placement, /) -> Launch:
        """How to start a worker now. Raises: ModelUnavailable, InvalidRequest."""
        ...
