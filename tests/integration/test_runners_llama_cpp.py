"""llama.cpp with real workers: what only the engine can say of weights, embeddings, cancelling, and other origins."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pluggably.domain.catalog import LocalModel, Target
from pluggably.errors import ModelUnavailable
from pluggably.net.http import HttpClient, Patience
from pluggably.runners import llama_cpp_child
from pluggably.runners.llama_cpp import LlamaCpp
from pluggably.runners.pool import Pool
from pluggably.testing.runners import group_members
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.endpoint import Endpoint

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "runners"))
import tiny_gguf as tiny

PATIENCE = Patience(30, 30, 30)
STUB = Path(__file__).parents[1] / "contract" / "stub_server.py"

needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp has no wheel for this system"
)


@asynccontextmanager
async def pool_of(weights, *, runner=None, **fields):
    http = HttpClient(reuses=False)
    pool = Pool({"llama.cpp": runner or LlamaCpp()}, {"openai": OpenAICodec}, http, environment=os.environ)
    pool.add(LocalModel(id="tiny", runner="llama.cpp", weights=str(weights), **fields))
    try:
        async with asyncio.timeout(60):
            yield pool, http
    finally:
        await pool.close(grace_s=0)
        await http.close()


async def endpoint_of(pool):
    """An endpoint whose lease is given back at once: these tests speak to the worker themselves."""
    lease = pool.lease(Target(backend="llama.cpp", model="tiny", location="local"))
    try:
        async for step in lease:
            if isinstance(step, Endpoint):
                return step
    finally:
        await lease.aclose()
    raise AssertionError("the lease ended without an endpoint")


async def ask(http, endpoint, method, path, body=None, **headers):
    """The answer of the worker, not yet read."""
    url = endpoint.base_url.removesuffix("/v1") + path
    raw = b"" if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **endpoint.headers, **headers}
    return await http.send(method, url, headers, raw, PATIENCE)


async def read(http, endpoint, method, path, body=None, **headers):
    answer = await ask(http, endpoint, method, path, body, **headers)
    try:
        return answer.status, answer.headers, json.loads(await answer.read(10_000_000))
    finally:
        answer.close()


@needs_wheel
def test_the_engine_s_own_reason_is_told(tmp_path):
    """Weights that only the engine can refuse are told to operators with its reason, not with that it failed."""
    path = tmp_path / "lemma.gguf"
    pairs = [tiny.string("general.architecture", "lemma"), *tiny.tokenizer_pairs()]
    path.write_bytes(tiny.encode(pairs, tiny.model_tensors()))

    async def scenario():
        async with pool_of(path) as (pool, _):
            with pytest.raises(ModelUnavailable, match="ended while it loaded") as refused:
                await endpoint_of(pool)
            assert "unknown model architecture: 'lemma'" in refused.value.for_operators
            assert refused.value.retry_after_s == 1
            assert str(tmp_path) not in refused.value.detail + refused.value.for_operators
            assert pool.standing("tiny").status == "error"
            assert not pool.workers()

    asyncio.run(scenario())


def test_a_missing_system_library_is_named_with_its_package(tmp_path):
    """Where the wheel cannot be loaded for want of OpenMP's library, the child says what to install."""
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    settings = json.dumps({"parent_pid": os.getpid(), "weights": "x"}) + "\n"
    child = subprocess.Popen(
        [sys.executable, "-P", llama_cpp_child.__file__],
        env={"PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        child.stdin.write(settings)
        child.stdin.flush()
        said = json.loads(child.stdout.readline())
        assert child.wait(timeout=30) == llama_cpp_child.EXIT_LOAD_FAILED
    assert said["error"].endswith("On Debian and Ubuntu: apt-get install libgomp1")


@needs_wheel
def test_embeds(tmp_path):
    """An embedding model answers with vectors, for inputs longer than llama.cpp's usual batch too."""
    extra = [tiny.uint32("llama.pooling_type", 1)]
    path = tiny.write_model(tmp_path / "embed.gguf", context=2048, extra=extra)

    async def scenario():
        async with pool_of(path, slots=1) as (pool, http):
            endpoint = await endpoint_of(pool)
            for text in ("hello", "a" * 1500):
                status, _, body = await read(http, endpoint, "POST", "/v1/embeddings", {"input": text})
                assert status == 200, body
                assert len(body["data"][0]["embedding"]) == tiny.WIDTH

    asyncio.run(scenario())


@needs_wheel
def test_a_context_for_each_slot(tmp_path):
    """Every slot has the whole context that was asked for, under the model's own name."""
    path = tiny.write_model(tmp_path / "m.gguf", context=1024)

    async def scenario():
        async with pool_of(path, slots=3, context_tokens=512) as (pool, http):
            endpoint = await endpoint_of(pool)
            _, _, slots = await read(http, endpoint, "GET", "/slots")
            assert [slot["n_ctx"] for slot in slots] == [512, 512, 512]
            _, _, models = await read(http, endpoint, "GET", "/v1/models")
            assert models["data"][0]["id"] == "tiny"
            (report,) = pool.workers()
            assert report.memory_bytes is None or report.memory_bytes > 5_000_000

    asyncio.run(scenario())


@needs_wheel
def test_a_closed_stream_frees_the_slot(tmp_path):
    """A generation of many seconds ends within one when its stream is closed."""
    path = tiny.write_model(tmp_path / "m.gguf", context=131_072)

    async def scenario():
        async with pool_of(path, slots=1, context_tokens=100_000) as (pool, http):
            endpoint = await endpoint_of(pool)
            body = {"messages": [{"role": "user", "content": "go"}], "stream": True, "ignore_eos": True}
            answer = await ask(http, endpoint, "POST", "/v1/chat/completions", body)
            while chunk := await answer.next_chunk():
                if b"content" in chunk:
                    break
            answer.close()
            async with asyncio.timeout(1):
                while True:
                    _, _, slots = await read(http, endpoint, "GET", "/slots")
                    if not slots[0]["is_processing"]:
                        return

    asyncio.run(scenario())


@needs_wheel
def test_the_engine_stays_in_the_child(tmp_path):
    """The gateway's process never imports the engine, and the kernel would take the child before it."""
    path = tiny.write_model(tmp_path / "m.gguf")

    async def scenario():
        async with pool_of(path) as (pool, _):
            endpoint = await endpoint_of(pool)
            assert "xllamacpp" not in sys.modules
            (report,) = pool.workers()
            process = Path("/proc", str(report.pid))
            if (process / "oom_score_adj").exists():
                assert int((process / "oom_score_adj").read_text()) == 800
                secret = endpoint.headers["Authorization"].removeprefix("Bearer ").encode()
                assert secret not in (process / "environ").read_bytes()

    asyncio.run(scenario())


@needs_wheel
def test_other_origins_read_nothing(tmp_path):
    """A web page of another origin is not allowed to read a worker's answers."""
    path = tiny.write_model(tmp_path / "m.gguf")

    async def scenario():
        async with pool_of(path) as (pool, http):
            endpoint = await endpoint_of(pool)
            _, headers, _ = await read(http, endpoint, "GET", "/v1/models", Origin="http://evil.example")
            assert headers.get("access-control-allow-origin") != "http://evil.example"
            assert headers.get("access-control-allow-origin") != "*"

    asyncio.run(scenario())


def test_a_llama_server_on_the_path(tmp_path):
    """Without the wheel a llama-server is started: guarded, on our port, with its key by environment."""
    program = tmp_path / "llama-server"
    words = tmp_path / "words"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {words}\n'
        'while [ "$1" != --port ]; do shift; done\n'
        f'SECRET="$LLAMA_API_KEY" exec {sys.executable} {STUB} --port "$2"\n'
    )
    program.chmod(0o755)
    runner = LlamaCpp(has_wheel=lambda: False, find_program=lambda name: str(tmp_path / name))
    weights = tiny.write_model(tmp_path / "m.gguf")

    async def scenario():
        async with pool_of(weights, runner=runner, slots=2, context_tokens=256) as (pool, http):
            endpoint = await endpoint_of(pool)
            (report,) = pool.workers()
            body = {"stream": True, "messages": []}
            refused = await ask(http, endpoint, "POST", "/v1/chat/completions", body, Authorization="Bearer x")
            served = await ask(http, endpoint, "POST", "/v1/chat/completions", body)
            assert (refused.status, served.status) == (401, 200)
            refused.close()
            served.close()
            assert "--ctx-size 512 --parallel 2" in words.read_text()
            await pool.unload("tiny")
            while group_members(report.pid):
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
