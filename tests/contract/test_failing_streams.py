"""What a stream that fails tells over every wire, in whatever form the vendor puts its error, and when it is no stream.

A vendor's error has a status of its own only until its stream has begun; from then on its words must do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from test_matrix import begun, common, expected
from vendor_forms import WIRES, Told, events_of, fault

from pluggably.domain.generation import Fold
from pluggably.errors import BackendError
from pluggably.testing import codecs
from pluggably.wire.codec import HttpReply
from pluggably.wire.framing import FRAMERS, comes_whole

Json = dict[str, Any]
REQUEST = codecs.generation_request({"input": "Say hi"})
TOLD = Told(words=["Hi", " there", "."])
# The wires whose streams are server-sent events, but for another gateway of ours, which ends its own with its error.
SSE_WIRES = [wire for wire in WIRES if wire not in ("bedrock", "native", "ollama")]
FORMS: Mapping[str, Callable[[Any], bytes]] = {
    "an event": lambda error: b"data: " + json.dumps(error).encode() + b"\n\n",
    "an event with its name": lambda error: b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n",
    "a bare line": lambda error: json.dumps(error).encode() + b"\n",
    "a bare line without its end": lambda error: json.dumps(error).encode(),
    "bare lines": lambda error: json.dumps(error, indent=2).encode() + b"\n",
    "a bare list": lambda error: json.dumps([error], indent=2).replace("\n", "\r\n").encode(),
}
# Their words say nothing of what the status would, or they never put an error there: AWS and another gateway of ours.
CODES = dict.fromkeys(("cohere", "mistral", "ollama"), "backend_error")
NEVER = ("bedrock", "native")
# Google's services have lists, on their own wire and on OpenAI's.
LISTS = ("gemini", "huggingface", "openai", "openai_responses")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wire", SSE_WIRES)
def test_an_error_in_a_stream_is_what_it_says(wire: str, form: str) -> None:
    """After each event of it, and before the first; what was said until then is told."""
    error = FORMS[form](json.loads(fault(wire, 429).body))
    _, streamed = WIRES[wire](TOLD)
    blocks = [block + b"\n\n" for block in streamed.replace(b"\r\n", b"\n").split(b"\n\n") if block]
    for count in range(len(blocks) - 1):
        codec, _, call = begun(wire, REQUEST, stream=True)
        assert call.framing == "sse"
        framer = FRAMERS[call.framing]()
        with pytest.raises(BackendError) as raised:
            for frame in [*framer.feed(b"".join(blocks[:count]) + error), *framer.end()]:
                events_of(codec.feed(frame))
            events_of(codec.finish())
        assert raised.value.code == CODES.get(wire, "backend_rate_limited")


@pytest.mark.parametrize("in_a_list", [False, True], ids=["alone", "in a list"])
@pytest.mark.parametrize("wire", WIRES)
def test_an_error_as_json_in_place_of_a_stream_is_what_it_says(wire: str, in_a_list: bool) -> None:
    """With a status of 200; on a wire of which nobody has seen that, it is at least no answer."""
    error = fault(wire, 429).body
    with pytest.raises(Exception) as raised:  # any will do: over a reply, the transport catches them all
        answered(wire, b"[" + error + b"]" if in_a_list else error)
    if wire not in NEVER and not (in_a_list and wire not in LISTS):
        assert isinstance(raised.value, BackendError)
        assert raised.value.code == CODES.get(wire, "backend_rate_limited")


@pytest.mark.parametrize("wire", WIRES)
def test_a_whole_answer_in_place_of_a_stream_is_an_answer(wire: str) -> None:
    """Some servers do not stream, whatever they are asked."""
    plain, _ = WIRES[wire](TOLD)
    fold = answered(wire, msgspec.json.encode(plain))
    assert common(fold.output()) == expected(TOLD)
    assert fold.finish_reason == "stop"


def answered(wire: str, body: bytes) -> Fold:
    """What a codec that asked for a stream makes of JSON, on the way that the transport takes."""
    codec, fold, call = begun(wire, REQUEST, stream=True)
    assert call.framing is not None
    if comes_whole(call.framing, "application/json"):
        reply = HttpReply(status=200, headers={"content-type": "application/json"}, body=body)
        fold.add(events_of(codec.receive(reply)))
        return fold
    framer = FRAMERS[call.framing]()
    for frame in [*framer.feed(body), *framer.end()]:
        fold.add(events_of(codec.feed(frame)))
    fold.add(events_of(codec.finish()))
    return fold
