"""What vendors say when they refuse, as errors of the house."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendTimeout,
    ContextLengthExceeded,
    InvalidRequest,
    PayloadTooLarge,
    PluggablyError,
    UnsupportedParameter,
)
from pluggably.wire.codec import HttpReply
from pluggably.wire.codecs.openai.faults import fault_in_answer, fault_of_reply
from pluggably.wire.faults import MAX_SHOWN, Asked, retry_after_s, shown

ASKED = Asked(backend="vendor", model="m", modality="text")


def fault(status: int, body: Any, **headers: str) -> PluggablyError:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return fault_of_reply(HttpReply(status=status, headers=headers, body=encoded), ASKED)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"x-ms-retry-after-ms": "30"}, 0.03),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:00 GMT", "date": "Sun, 22 Nov 2026 10:00:30 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"x-ratelimit-reset-requests": "12ms"}, 0.012),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (
            {
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            1.0,
        ),
        ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-requests": ""}, None),
    ],
)
def test_every_form_of_when_to_try_again_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds, seconds, dates, and OpenAI's own durations; nonsense is no time."""
    assert retry_after_s(headers) == seconds


def test_limits_say_nothing_of_other_faults() -> None:
    """OpenAI tells them with every answer."""
    headers = {"x-ratelimit-reset-requests": "12ms", "x-ratelimit-remaining-requests": "0"}
    assert fault(500, {"error": {"message": "boom"}}, **headers).retry_after_s is None
    assert fault(429, {"error": {"message": "slow"}}, **headers).retry_after_s == 0.012


def test_a_date_without_the_servers_clock_is_counted_from_ours() -> None:
    """Not every server sends a `Date`."""
    wait = retry_after_s({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert wait is not None
    assert 55 < wait <= 60


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcd****wxyz.",
        "key gsk_AbCdEfGh123456 is bad",
        "Authorization: Bearer abc.def.ghi",
        "limit reached in organization org-AbCdEf on project proj_XyZ123",
        "Publisher Model `projects/wxyz-1/locations/global/publishers/google/models/gemini-9` was not found.",
        "API has not been used in project 00123456 before: https://console.test/overview?project=00123456",
        "quota of consumer 'project_number:00123456'",
    ],
)
def test_keys_and_account_ids_are_never_shown(text: str) -> None:
    """They are the operator's, and a client has no business with them."""
    cleaned = shown(text)
    for secret in ("abcd", "wxyz", "00123456", "AbCdEfGh", "abc.def", "AbCdEf", "XyZ123"):
        assert secret not in cleaned
    assert "[redacted]" in cleaned


def test_what_only_looks_like_a_key_is_shown() -> None:
    """The names of parameters help to mend a request."""
    words = "Unknown parameters: 'user_location', 'org_name', key-value, project and task_list; projects 12 of 2026."
    assert shown(words) == words


@given(st.text(max_size=50), st.integers(1, 40))
def test_what_is_shown_is_one_short_printable_line(text: str, times: int) -> None:
    """Whatever a vendor writes."""
    line = shown(text * times)
    assert len(line) <= MAX_SHOWN
    assert line.isprintable()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid json"}, InvalidRequest),
        (422, {"detail": [{"loc": ["body", "x"], "msg": "field required"}]}, InvalidRequest),
        (400, {"object": "error", "message": "bad", "code": 400, "type": "BadRequestError"}, InvalidRequest),
        (400, [{"error": {"message": "bad", "code": 400, "status": "INVALID_ARGUMENT"}}], InvalidRequest),
        (400, b"bad request", InvalidRequest),
        (501, {"error": {"message": "not here", "type": "not_supported_error"}}, UnsupportedParameter),
        (401, b"<html>sk-secret</html>", BackendAuthenticationFailed),
        (401, b"not you, sk-secret or whoever", BackendAuthenticationFailed),
        (403, b"<title>sk-secret and more</title>", BackendAuthenticationFailed),
        (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, ContextLengthExceeded),
        (400, {"error": {"message": "too long", "type": "exceed_context_size_error"}}, ContextLengthExceeded),
        (400, {"error": {"message": "This endpoint's maximum context length is 9 tokens."}}, ContextLengthExceeded),
        (413, b"", PayloadTooLarge),
        (500, b"", BackendError),
        (503, None, BackendError),
        (408, {}, BackendTimeout),
        (504, b"[", BackendTimeout),
        (502, b"[" * 100_000, BackendError),
        (400, 7, InvalidRequest),
        (500, {"error": None}, BackendError),
        (400, {"error": {"message": {"nested": 1}, "code": {}, "type": [], "param": 3}}, InvalidRequest),
    ],
)
def test_any_body_of_an_error_is_understood(status: int, body: Any, kind: type[PluggablyError]) -> None:
    """Vendors shaped like OpenAI have other forms of errors, and proxies have none."""
    error = fault(status, body)
    assert type(error) is kind
    assert str(status) in error.detail
    assert "sk-secret" not in error.detail
    assert "whoever" not in error.detail
    assert "and more" not in error.detail


@given(st.integers(300, 599), st.binary(max_size=300))
def test_no_reply_at_all_breaks_the_reading_of_errors(status: int, body: bytes) -> None:
    """An error about an error would hide the first one."""
    assert isinstance(fault(status, body), PluggablyError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "param", "metadata"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(json_values)
def test_no_error_inside_an_answer_breaks_it_either(value: Any) -> None:
    """Of any form, it becomes an error of the house."""
    assert isinstance(fault_in_answer(value, ASKED), PluggablyError)
    assert isinstance(fault(400, value), PluggablyError)


@pytest.mark.parametrize("empty", [{}, "", {"message": ""}, [], {"message": None, "code": None}])
def test_an_error_that_says_nothing_is_an_invalid_response(empty: Any) -> None:
    """There is nobody to blame but the wire."""
    assert type(fault_in_answer(empty, ASKED)) is BackendInvalidResponse


def test_the_operators_mistakes_do_not_show_the_vendors_words() -> None:
    """Money and keys are between the operator and the vendor."""
    for status, code in ((401, "invalid_api_key"), (402, "x"), (429, "insufficient_quota"), (403, "y")):
        error = fault(status, {"error": {"message": "private words", "code": code}})
        assert "private words" not in error.detail
        assert "operator" in error.detail


@pytest.mark.parametrize(
    ("param", "origins", "pointer"),
    [
        ("temperature", (), "/parameters/temperature"),
        ("max_completion_tokens", (), "/parameters/max_output_tokens"),
        ("response_format.json_schema", (), "/response_format"),
        ("tools[2].function", (), "/tools/2"),
        ("messages", (0, 1), "/input"),
        ("messages[0].content", (0,), "/input"),
        ("messages.[2].content", (0, 1, 1), "/input/1"),
        ("messages[9]", (0, 1), "/input"),
        ("input[3]", (), "/input/3"),
        ("something", (), None),
        ("", (), None),
        ("[]", (), None),
    ],
)
def test_what_a_vendor_blames_is_pointed_at(param: str, origins: tuple[int, ...], pointer: str | None) -> None:
    """In the client's request, not in the vendor's."""
    asked = msgspec.structs.replace(ASKED, origins=origins)
    body = msgspec.json.encode({"error": {"message": "no", "param": param, "code": "invalid_value"}})
    error = fault_of_reply(HttpReply(status=400, headers={}, body=body), asked)
    assert error.pointer == pointer


@pytest.mark.parametrize(
    ("meaning", "code"),
    [
        ("context", "context_length_exceeded"),
        ("filtered", "content_filtered"),
        ("quota", "backend_quota_exhausted"),
        ("rate", "backend_rate_limited"),
        ("credential", "backend_authentication_failed"),
        ("model", "model_not_found"),
        ("request", "invalid_request"),
    ],
)
@pytest.mark.parametrize("said", [{"code": 4711}, {"code": "4711"}, {"type": "4711", "code": "insufficient_quota"}])
def test_a_vendors_own_code_means_what_its_options_say(meaning: Any, code: str, said: dict[str, Any]) -> None:
    """A number or a text, as the code or as the type, and over what the same words mean elsewhere."""
    asked = Asked(backend="vendor", model="m", modality="text", error_codes={"4711": meaning})
    body = msgspec.json.encode({"error": {"message": "no", **said}})
    assert fault_of_reply(HttpReply(status=418, headers={}, body=body), asked).code == code


def test_an_envelope_with_a_list_of_errors_is_read_by_its_first() -> None:
    """Cloudflare's; where a message stands beside the list, the message is what there is to say."""
    envelope = {"result": None, "success": False, "errors": [{"code": 7003, "message": "no route"}], "messages": []}
    assert "no route" in fault(400, envelope).detail
    assert "all wrong" in fault(400, {"message": "all wrong", "errors": [{"field": "x"}]}).detail
    assert fault(400, {"success": False, "errors": []}).code == "invalid_request"


def test_a_reason_beside_the_status_is_the_code_that_operators_see() -> None:
    """Novita repeats the status as `code`, and says why in `reason`."""
    told = fault(403, {"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "not enough balance", "metadata": {}})
    assert isinstance(told, BackendError)
    assert told.backend_code == "NOT_ENOUGH_BALANCE"


def test_a_model_that_is_gone_is_not_found() -> None:
    """A status of 410 is a retired model, wherever it is documented at all."""
    assert fault(410, {"error": {"message": "retired", "type": "gone"}}).code == "model_not_found"


@pytest.mark.parametrize(
    "message",
    [
        "Your request exceeded model token limit : 262144",
        "Input token length too long",
        "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        "The number of tokens to keep from the initial prompt is greater than the context length.",
    ],
)
def test_a_prompt_that_is_too_long_is_known_by_the_words(message: str) -> None:
    """Moonshot's, SGLang's and LM Studio's, who give no code for it."""
    assert isinstance(fault(400, {"error": {"message": message}}), ContextLengthExceeded)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("please try again after 20 seconds", 20.0),
        ("Please try again in 7.5s.", 7.5),
        ("try again in 6m0s", 360.0),
        ("try again in 250ms", 0.25),
        ("try again after 2 minutes", 120.0),
        ("try again later", None),
    ],
)
def test_a_wait_is_read_from_the_words_where_no_header_tells_it(words: str, seconds: float | None) -> None:
    """And a header counts before them."""
    told = fault(429, {"error": {"message": f"Limit reached, {words}"}})
    headed = fault(429, {"error": {"message": f"Limit reached, {words}"}}, **{"retry-after": "3"})
    assert isinstance(told, BackendError)
    assert isinstance(headed, BackendError)
    assert (told.retry_after_s, headed.retry_after_s) == (seconds, 3.0)
