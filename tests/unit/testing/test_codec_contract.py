"""The contract suite catches codecs and framers that break it: each here breaks one rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from pluggably.domain.generation import Completed, ItemDelta
from pluggably.errors import BackendError, PluggablyError
from pluggably.testing import codecs, framers
from pluggably.wire.codec import NOTHING, Frame, HttpCall, HttpReply, Step
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.framing import SseFramer

CONVERSATION = codecs.Conversation(
    title="a river",
    stream=True,
    request={"input": "A river?"},
    call={"url": "https://vendor.test/v1/chat/completions"},
    reply=codecs.Reply(
        sse=[
            {"choices": [{"index": 0, "delta": {"content": "O"}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
            "[DONE]",
        ]
    ),
    answer={"output": [{"type": "text", "text": "Ob"}], "usage": {"input_tokens": 3, "output_tokens": 2}},
)
PLAIN = msgspec.structs.replace(
    CONVERSATION,
    stream=False,
    reply=codecs.Reply(value={"choices": [{"message": {"content": "Ob"}, "finish_reason": "stop"}]}),
    answer={"output": [{"type": "text", "text": "Ob"}]},
)
ERROR = b'{"error": {"message": "boom", "type": "server_error"}}'


class InventsAnEnd(OpenAICodec):
    def finish(self) -> Step:
        try:
            return super().finish()
        except BackendError:
            return Step((Completed("stop"),))


class LosesText(OpenAICodec):
    def feed(self, frame: Frame) -> Step:
        step = super().feed(frame)
        return Step([event for event in step.events if not isinstance(event, ItemDelta) or event.text != "b"])


class EndsTwice(OpenAICodec):
    def finish(self) -> Step:
        super().finish()
        return Step((Completed("stop"),))


class NeverEnds(OpenAICodec):
    def feed(self, frame: Frame) -> Step:
        return Step([event for event in super().feed(frame).events if not isinstance(event, Completed)])


class HatesNews(OpenAICodec):
    def feed(self, frame: Frame) -> Step:
        if b"x_new" in frame.data:
            raise ValueError("an unknown field")
        return super().feed(frame)


class SwallowsGarbage(OpenAICodec):
    def feed(self, frame: Frame) -> Step:
        try:
            return super().feed(frame)
        except (msgspec.MsgspecError, ValueError):
            return Step((Completed("stop"),))


class SwallowsErrors(OpenAICodec):
    def feed(self, frame: Frame) -> Step:
        return NOTHING if frame.data == ERROR else super().feed(frame)


class BlamesTheClient(OpenAICodec):
    def finish(self) -> Step:
        try:
            return super().finish()
        except BackendError as error:
            raise PluggablyError("it was you") from error


class CallsElsewhere(OpenAICodec):
    def begin(self, request, address) -> Step:  # type: ignore[no-untyped-def]
        call = super().begin(request, address).next
        assert call is not None
        return Step(next=HttpCall(url="https://elsewhere.test/", body=call.body, framing=call.framing))


class TakesAnything(OpenAICodec):
    def receive(self, reply: HttpReply) -> Step:
        return Step((Completed("stop"),))


def test_a_codec_that_keeps_the_contract_passes() -> None:
    """The base from which the others deviate."""
    codecs.check(partial(codecs.make, OpenAICodec), CONVERSATION)
    codecs.check(partial(codecs.make, OpenAICodec), PLAIN)
    codecs.check_error_in_200(partial(codecs.make, OpenAICodec), CONVERSATION, ERROR, "backend_error")


@pytest.mark.parametrize(
    "codec",
    [
        InventsAnEnd,
        LosesText,
        EndsTwice,
        NeverEnds,
        SwallowsGarbage,
        BlamesTheClient,
        CallsElsewhere,
    ],
)
def test_a_codec_that_breaks_a_rule_is_caught(codec: type[OpenAICodec]) -> None:
    """Whichever rule it is."""
    with pytest.raises(AssertionError):
        codecs.check(partial(codecs.make, codec), CONVERSATION)


def test_a_codec_that_refuses_what_is_new_is_caught() -> None:
    """Vendors add fields all the time."""
    with pytest.raises(ValueError, match="unknown field"):
        codecs.check(partial(codecs.make, HatesNews), CONVERSATION)


def test_a_codec_that_takes_an_error_for_nothing_is_caught() -> None:
    """The error in the midst of a stream would become a shorter answer."""
    with pytest.raises(AssertionError, match="an error was not told"):
        codecs.check_error_in_200(partial(codecs.make, SwallowsErrors), CONVERSATION, ERROR)


def test_a_codec_that_takes_anything_for_an_answer_is_caught() -> None:
    """Plain answers are checked as streams are."""
    with pytest.raises(AssertionError):
        codecs.check_garbage(partial(codecs.make, TakesAnything), PLAIN)


class LosesCuts(SseFramer):
    """Takes each read for whole events, as naive framers do."""

    def feed(self, chunk: bytes) -> list[Frame]:
        return SseFramer().feed(chunk)


class ShowsTheRest(SseFramer):
    """Takes the end of the stream for the end of an event."""

    def end(self) -> list[Frame]:
        return self.feed(b"\n\n")


@pytest.mark.parametrize("framer", [LosesCuts, ShowsTheRest])
def test_a_framer_that_breaks_a_rule_is_caught(framer: Callable[[], SseFramer]) -> None:
    """A cut that loses an event, or a truncated one that passes for whole."""
    with pytest.raises(AssertionError):
        framers.check_framer(framer, framers.SSE_CASES)


def test_a_folder_without_conversations_is_a_mistake(tmp_path: pytest.TempPathFactory) -> None:
    """A wrong path would pass every test otherwise."""
    with pytest.raises(AssertionError, match="no conversations"):
        codecs.load_conversations(str(tmp_path))
