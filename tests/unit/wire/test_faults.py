"""What the errors of all vendors have in common: how they are read, whatever they hold, and what of them is shown."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from pluggably.errors import BackendError, BackendRateLimited, ContextLengthExceeded, ModelNotFound, PluggablyError
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.anthropic import faults as anthropic
from pluggably.wire.codecs.cohere import faults as cohere
from pluggably.wire.codecs.gemini import faults as gemini
from pluggably.wire.codecs.huggingface import faults as huggingface
from pluggably.wire.codecs.ollama import faults as ollama
from pluggably.wire.codecs.openai import faults as openai
from pluggably.wire.faults import MAX_READ, Asked, decoded, duration_s, in_order, retry_after_s, shown, words_of
from tests.work import lines_run

ASKED = Asked(backend="vendor", model="m", modality="text")


def fault(codec: object, status: int, body: bytes, asked: Asked = ASKED, **headers: str) -> PluggablyError:
    told: PluggablyError = codec.fault_of_reply(HttpReply(status=status, headers=headers, body=body), asked)  # type: ignore[attr-defined]
    return told


def test_an_error_in_another_encoding_still_tells_its_codes() -> None:
    """Its words have a mark in place of what cannot be read."""
    assert decoded('{"error": {"code": "clé"}}'.encode("latin-1")) == {"error": {"code": "cl\N{REPLACEMENT CHARACTER}"}}
    body = '{"error": {"message": "clé", "code": "model_not_found"}}'.encode("latin-1")
    assert isinstance(fault(openai, 400, body), ModelNotFound)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 20_000, b"\xff\xfe", b'{"a": "\xe9'])
def test_what_is_no_json_is_nothing(body: bytes) -> None:
    """However it is broken."""
    assert decoded(body) is None


def test_no_more_of_a_vendors_words_is_read_than_an_error_says() -> None:
    """So no words hold the loop, whatever pattern looks at them."""
    assert words_of("a" * 100_000) == "a" * MAX_READ
    assert words_of(7) == ""


def test_words_are_found_in_their_order_only() -> None:
    """Each behind the one before."""
    one, two = re.compile("one"), re.compile("two")
    assert in_order("one and two", one, two)
    assert not in_order("two and one", one, two)
    assert not in_order("on twe", one, two)


@pytest.mark.parametrize(
    ("codec", "status", "body"),
    [
        (openai, 502, b"<title>" * 35_000),
        (openai, 400, b"<TITLE" * 40_000),
        (ollama, 400, b'{"error": "%s"}' % (b"inputlength" * 20_000)),
        (huggingface, 400, b'{"error": "%s"}' % (b"model " * 40_000)),
        (cohere, 400, b'{"message": "%s"}' % (b"model " * 40_000)),
    ],
)
def test_words_made_to_be_hard_to_read_are_read_at_once(codec: object, status: int, body: bytes) -> None:
    """In the time that others take: with patterns that go back and forth this test would take hours."""
    assert fault(codec, status, body).detail.startswith("vendor")


def test_a_page_is_told_by_its_title() -> None:
    """Also where the tag has attributes, or is never closed."""
    assert "400: Too large." in fault(openai, 400, b'<html><Title lang="en">Too\nlarge</TITLE>').detail
    assert "without a reason" in fault(openai, 400, b"<html><title>Too large").detail
    assert "without a reason" in fault(openai, 400, b"<html><p>Too large</p>").detail


@pytest.mark.parametrize(
    "words",
    ["input length exceeds the context length", "Prompt is too long for the context", "exceeds the available context"],
)
def test_ollamas_words_for_too_long_a_prompt_are_known(words: str) -> None:
    """In its several forms."""
    assert isinstance(fault(ollama, 400, b'{"error": "%s"}' % words.encode()), ContextLengthExceeded)


def test_many_options_of_a_client_cost_an_error_little() -> None:
    """A pattern is made for those alone that the words hold."""
    few, many = (
        Asked(backend="v", model="m", modality="text", own_options=dict.fromkeys(map(str, range(n)), 0))
        for n in (9, 9000)
    )
    body = b'{"message": "unknown field: zzz"}'
    fault(cohere, 400, body, few)
    assert lines_run(lambda: fault(cohere, 400, body, many)) < 3 * 9000
    named = Asked(backend="v", model="m", modality="text", own_options={"zz": 1, "zzz": 2})
    assert fault(cohere, 400, body, named).pointer == "/provider_options/v/zzz"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360.0), ("1.5s", 1.5), ("12ms", 0.012), ("1h2m3s", 3723.0), ("", None), ("9" * 400 + "s", None)],
)
def test_a_duration_is_read(text: str, seconds: float | None) -> None:
    """And one that is longer than any could be, is none."""
    assert duration_s(text) == seconds


def test_a_header_full_of_digits_is_no_wait() -> None:
    """It is not even looked through."""
    assert retry_after_s({"x-ratelimit-reset-requests": "1" * 60_000}) is None


@pytest.mark.parametrize("date", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 0000 00:00:00 -9999"])
def test_a_date_that_no_calendar_has_is_no_wait(date: str) -> None:
    """The error itself is told all the same."""
    assert retry_after_s({"retry-after": date}) is None
    told = fault(openai, 429, b"{}", **{"retry-after": date})
    assert isinstance(told, BackendRateLimited)
    assert told.retry_after_s is None


def test_a_loading_time_without_end_is_no_wait() -> None:
    """A whole number may have any number of digits."""
    told = fault(huggingface, 503, b'{"error": "loading", "estimated_time": 1%s}' % (b"0" * 400))
    assert isinstance(told, BackendError)
    assert told.retry_after_s is None


@pytest.mark.parametrize(
    "words",
    ["for consumer 'api_key:AIzaSyA1234567890abcdefg'", "the key AIzaSyA1234567890abcdefg is suspended"],
)
def test_googles_keys_are_not_shown(words: str) -> None:
    """Neither bare nor in its name for whom they let in."""
    assert "[redacted]" in shown(words)
    assert "AIzaSyA123" not in shown(words)


@pytest.mark.parametrize(
    ("codec", "error"),
    [
        (openai, {"error": {"message": "no", "type": "invalid_request_error", "param": "a/b.c"}}),
        (anthropic, {"error": {"type": "invalid_request_error", "message": "top_k: no"}}),
        (gemini, {"error": {"code": 400, "message": "Invalid value at 'top_k'", "status": "INVALID_ARGUMENT"}}),
        (cohere, {"message": "invalid request: top_k is wrong"}),
    ],
)
def test_an_option_of_a_model_whose_name_has_a_slash_is_pointed_at(codec: object, error: dict[str, Any]) -> None:
    """Its name is one step of the pointer (RFC 6901), and so is the option's."""
    own = {"top_k": 1, "a/b": {}}
    asked = Asked(backend="org/tiny~1", model="m", modality="text", own_options=own)
    name = "a~1b" if codec is openai else "top_k"
    assert fault(codec, 400, msgspec.json.encode(error), asked).pointer == f"/provider_options/org~1tiny~01/{name}"
