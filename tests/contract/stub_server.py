"""A small server that the command runner starts in tests: OpenAI's chat wire, words at a pace, standard library only.

    python stub_server.py --port N [--slots N] [--word-s S] [--ready-after S] [--pid-file PATH] [--ignore-term]

With SECRET in its environment it refuses requests without it. `--pid-file` makes it start a process of its own, and
write the ids of both, so that a test can look whether they are gone.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--word-s", type=float, default=0.0)
    parser.add_argument("--ready-after", type=float, default=0.0)
    parser.add_argument("--pid-file")
    parser.add_argument("--ignore-term", action="store_true")
    return parser.parse_args()


def main():
    options = parse()
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.pid_file:
        loop = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        grandchild = subprocess.Popen([sys.executable, "-c", loop])
        pids = Path(options.pid_file)
        pids.with_suffix(".new").write_text(f"{os.getpid()} {grandchild.pid}")
        pids.with_suffix(".new").rename(pids)
    print("stub: starting, and its secret is", os.environ.get("SECRET"), flush=True)
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", options.port), handler(options))
    server.serve_forever()


def handler(options):
    slots = threading.Semaphore(options.slots)
    ready_at = time.monotonic() + options.ready_after

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            is_ready = time.monotonic() >= ready_at
            self.answer(200 if is_ready else 503, {"status": "ok" if is_ready else "loading"})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            secret = os.environ.get("SECRET")
            if secret and self.headers.get("Authorization") != f"Bearer {secret}":
                self.answer(401, {"error": {"message": "no secret, no words", "code": 401}})
            elif not body.get("stream"):
                self.answer(400, {"error": {"message": "this stub only streams", "code": 400}})
            else:
                with slots:
                    self.stream(body)

        def stream(self, body):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            count = body.get("max_tokens") or body.get("max_completion_tokens") or 3
            try:
                for number in range(count):
                    self.event({"delta": {"content": f"word{number} "}, "finish_reason": None})
                    time.sleep(options.word_s)
                self.event({"delta": {}, "finish_reason": "stop"})
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                pass

        def event(self, choice):
            chunk = {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 0,
                "model": "stub",
                "choices": [{"index": 0, **choice}],
            }
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.flush()

        def answer(self, status, value):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

    return Handler


if __name__ == "__main__":
    main()
