"""The built-in runners pass the suite that is shipped to the authors of runners."""

import importlib.util
import sys
from pathlib import Path

import pytest

import pluggably
from pluggably.domain.catalog import LocalModel
from pluggably.domain.generation import TextParameters
from pluggably.runners.command import Command
from pluggably.runners.llama_cpp import LlamaCpp
from pluggably.testing.runners import RunnerContract

DEMO = Path(pluggably.__file__).parent / "demo" / "demo.gguf"
STUB = [sys.executable, str(Path(__file__).parent / "stub_server.py"), "--port", "{port}", "--word-s", "0.01"]


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp has no wheel for this system")
@pytest.mark.skipif(not DEMO.exists(), reason="the demo model is not built")
class TestLlamaCpp(RunnerContract):
    def runner(self):
        return LlamaCpp()

    def model(self, workdir):
        return LocalModel(id="demo", runner="llama.cpp", weights=str(DEMO), slots=1)

    def long_request(self):
        """The demo model ends by itself after a sentence, unless it is kept from it."""
        request = self.request()
        request.parameters = TextParameters(max_output_tokens=900)
        request.provider_options = {"llama.cpp": {"ignore_eos": True}}
        return request


class TestCommand(RunnerContract):
    def runner(self):
        return Command()

    def model(self, workdir):
        return LocalModel(
            id="stub",
            runner="command",
            slots=1,
            options={
                # With a process of its own that ignores SIGTERM, which must go with it all the same.
                "command": [*STUB, "--pid-file", str(workdir / "pids")],
                "env": {"SECRET": "{secret}"},
                "always_streams": True,
            },
        )
