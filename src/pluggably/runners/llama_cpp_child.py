"""The worker of the llama.cpp runner: llama.cpp's own server inside this process, by the xllamacpp wheel.

Run as a program, never imported by the gateway. The first line of its standard input is its settings, as JSON: they
hold a secret, and a command line or an environment could be read. The input then stays open; its end means that the
gateway is gone, and so this process goes. It prints one JSON line, {"ready": url} or {"error": text}; llama.cpp's log
is on standard error. What surprises: a failed load gives one and the same exception for every cause, the cause is
only in that log; and this file imports nothing of the house, to start in a tenth of a second.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
OOM_SCORE_ADJ = 800
LOG_VERBOSITY = 3
EXIT_LOAD_FAILED = 3
EXIT_ORPHANED = 4
LAST_LINES_S = 0.5
# The one library that the wheel takes from the system, and that a small system lacks.
OPENMP_HINT = ". On Debian and Ubuntu: apt-get install libgomp1"

_alive: list[Any] = []


def main() -> NoReturn:
    settings = json.loads(sys.stdin.buffer.readline())
    die_with_parent(settings["parent_pid"])
    be_first_to_go()
    # llama.cpp prints a backtrace by gdb on an abort, on standard output, where our ready line belongs.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    try:
        url = serve(settings)
    except Exception as error:  # noqa: BLE001  whatever it is, the gateway reads it from this line
        hint = OPENMP_HINT if "libgomp" in str(error) else ""
        print(json.dumps({"error": f"{type(error).__name__}: {error}{hint}"}), flush=True)  # noqa: T201
        # llama.cpp logs from a thread of its own, which no exit waits for; the cause is among its last lines.
        time.sleep(LAST_LINES_S)
        os._exit(EXIT_LOAD_FAILED)
    print(json.dumps({"ready": url}), flush=True)  # noqa: T201
    threading.Event().wait()
    os._exit(0)


def die_with_parent(parent_pid: int) -> None:
    """Two ways, since the kernel's is Linux's only and bound to the thread that started us."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(EXIT_ORPHANED)
    threading.Thread(target=exit_at_end_of_input, daemon=True).start()


def exit_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(EXIT_ORPHANED)


def be_first_to_go() -> None:
    """When memory runs out, the kernel is to take this process before the gateway."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ))


def serve(settings: dict[str, Any]) -> str:
    """Loads the model; returns the URL when it answers."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["weights"]
    params.model_alias = {settings["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["secret"]]
    # By default any page in a browser on this machine may read what a loopback server answers.
    params.cors_origins = "http://127.0.0.1"
    params.cors_origins_explicit = True
    params.ui = False
    params.use_jinja = True
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.verbosity = LOG_VERBOSITY
    # The context is divided by the number of slots.
    params.n_ctx = settings["context_tokens"] * settings["slots"]
    params.n_parallel = settings["slots"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.n_gpu_layers = settings["gpu_layers"]
    params.cache_ram_mib = settings["cache_ram_mib"]
    params.flash_attn_type = settings["flash_attention"]
    if settings["pooling"] is not None:
        params.embedding = True
        params.pooling_type = settings["pooling"]
        # A pooled input has to fit in one batch.
        params.n_batch = params.n_ubatch = settings["context_tokens"]
    server = xllamacpp.Server(params)
    # It must live as long as the process: its destructor stops the server.
    _alive.append(server)
    return str(server.listening_address)


if __name__ == "__main__":
    main()
