"""What each codec costs beside the OpenAI one, in microseconds of one core: a request with its answer, and an event.

    python bench/codecs.py

Every wire says the same: a short conversation with a tool, an answer of sixty words, and of a stream a piece of text.
The codecs take turns, so that what else the machine does falls on all of them; a ratio is that of one turn, and the
least and the greatest stand beside the median. There is no network and no framing in it: `bench/wire.py` has that.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pluggably.plugins import CODECS, Plugins
from pluggably.providers.presets import PRESETS
from pluggably.testing.codecs import generation_request
from pluggably.wire.codec import Address, Codec, Frame, HttpReply
from pluggably.wire.framing import FRAMERS

# What each wire says is that of the tests, so it stands there once.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "contract"))
from vendor_forms import VENDORS, WIRES, Told

TURNS = 21
TURN_S = 0.04
WORDS = [f" word{number}" for number in range(60)]
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
REQUEST = generation_request(
    {
        "input": [
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": "How warm is it in Rome?"},
            {"role": "assistant", "content": "I can look that up."},
            {"role": "user", "content": "Please do."},
        ],
        "tools": [TOOL],
        "parameters": {"max_output_tokens": 500},
    }
)


class Measured:
    """One codec: its two pieces of work, and how long each took in each turn."""

    def __init__(self, wire: str) -> None:
        preset_name, self._model = VENDORS[wire]
        preset = PRESETS[preset_name]
        self._wire = wire
        self._codec = Plugins(CODECS)[wire]
        # As in the gateway, they are read once for all requests.
        self._options = msgspec.convert(preset.options if preset.codec == wire else {}, self._codec.Options)
        plain, streamed = WIRES[wire](Told(words=WORDS))
        self._reply = HttpReply(status=200, headers={}, body=msgspec.json.encode(plain))
        self._streaming, framing = self._begun(stream=True)
        framer = FRAMERS[framing]()
        frames = [*framer.feed(streamed), *framer.end()]
        # Up to the middle of the stream, so that the text is open; what comes then is more of it.
        place = next(number for number, frame in enumerate(frames) if b"word30" in frame.data)
        for frame in frames[:place]:
            self._streaming.feed(frame)
        # Two of them in turn: what comes with every piece, such as a count, is another each time.
        self._frames: list[Frame] = frames[place : place + 2]
        self.times: Mapping[str, list[float]] = {"request": [], "event": []}

    def _begun(self, *, stream: bool) -> tuple[Codec, str]:
        codec: Codec = self._codec(self._options)
        address = Address(base_url="http://b.test", model=self._model, backend=self._wire, stream=stream)
        call = codec.begin(REQUEST, address).next
        assert call is not None
        return codec, call.framing or ""

    def request(self) -> None:
        codec, _ = self._begun(stream=False)
        codec.receive(self._reply)

    def event(self) -> None:
        first, second = self._frames
        self._streaming.feed(first)
        self._streaming.feed(second)

    def turn(self, name: str) -> None:
        run: Callable[[], None] = getattr(self, name)
        count, begun_s, each = 0, time.process_time(), 2 if name == "event" else 1
        while (passed_s := time.process_time() - begun_s) < TURN_S:
            for _ in range(50):
                run()
            count += 50 * each
        self.times[name].append(passed_s / count * 1e6)


def main() -> None:
    measured = {wire: Measured(wire) for wire in ("openai", *(wire for wire in WIRES if wire != "openai"))}
    for _ in range(TURNS):
        for name in ("request", "event"):
            for each in measured.values():
                each.turn(name)
    print(f"{'':18}{'request':>10}{'ratio (least, greatest)':>28}{'event':>12}{'ratio (least, greatest)':>28}")
    for wire, each in measured.items():
        line = f"{wire:18}"
        for name, width in (("request", 10), ("event", 12)):
            ratios = [
                mine / theirs for mine, theirs in zip(each.times[name], measured["openai"].times[name], strict=True)
            ]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"
            line += f"{statistics.median(each.times[name]):>{width - 3}.2f} µs{spread:>28}"
        print(line)


if __name__ == "__main__":
    main()
