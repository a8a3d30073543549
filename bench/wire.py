"""What one event of a stream costs in the framer and in the OpenAI codec, in microseconds of one core.

    python bench/wire.py

The event is of OpenAI's usual size; it is measured without a network, so this is the floor of what streaming costs.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable

import msgspec

from pluggably.testing.codecs import generation_request
from pluggably.wire.codec import Address, Frame
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.framing import SseFramer


def chunk(delta: dict[str, object]) -> bytes:
    return msgspec.json.encode(
        {
            "id": "chatcmpl-abcdefghijklmnopqrstuvwx",
            "object": "chat.completion.chunk",
            "created": 1793000000,
            "model": "gpt-4o-mini-2024-07-18",
            "service_tier": "default",
            "system_fingerprint": "fp_b376dfbbd5",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
            "usage": None,
        }
    )


def report(name: str, run: Callable[[], object], events: int = 1) -> None:
    rounds = 20_000
    best_s = min(timeit.repeat(run, timer=time.process_time, number=rounds, repeat=9))
    print(f"{name:40} {best_s / rounds / events * 1e6:6.2f} µs")


def codec() -> OpenAICodec:
    begun = OpenAICodec(OpenAIOptions())
    request = generation_request({"input": "Hello"})
    begun.begin(request, Address(base_url="http://b.test/v1", model="m", backend="b", stream=True))
    return begun


def main() -> None:
    text = chunk({"content": " word"})
    print(f"an event of {len(text)} bytes")
    for count in (1, 4, 16):
        framer, read = SseFramer(), (b"data: " + text + b"\n\n") * count
        report(f"framing, {count} events a read", lambda framer=framer, read=read: framer.feed(read), count)
    call = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}
    for name, delta in (("text", {"content": " word"}), ("reasoning", {"reasoning": " word"}), ("tool call", call)):
        begun, frame = codec(), Frame("", chunk(delta))
        report(f"decoding, a piece of {name}", lambda begun=begun, frame=frame: begun.feed(frame))
    report("building a request", codec)


if __name__ == "__main__":
    main()
