"""The tree of errors against the table of the API, and how each is told."""

from __future__ import annotations

import inspect
import json
import re

import msgspec
import pytest

from pluggably import errors
from pluggably.errors import (
    MAX_VIOLATIONS,
    BackendError,
    ClientError,
    GatewayError,
    InternalError,
    InvalidRequest,
    PluggablyError,
    StartupError,
    Violation,
)

# The table of the API that is promised to clients: status → codes. What later versions add is not here yet.
TABLE = {
    400: {
        "invalid_request",
        "unsupported_parameter",
        "unsupported_modality",
        "context_length_exceeded",
        "content_filtered",
        "input_url_refused",
        "input_url_unreachable",
    },
    401: {"unauthenticated"},
    403: {"permission_denied"},
    404: {"not_found", "model_not_found"},
    405: {"method_not_allowed"},
    406: {"not_acceptable"},
    408: {"request_timeout"},
    409: {"conflict"},
    413: {"payload_too_large"},
    415: {"unsupported_media_type"},
    429: {"backend_rate_limited"},
    431: {"headers_too_large"},
    500: {"internal_error"},
    502: {
        "backend_error",
        "backend_authentication_failed",
        "backend_quota_exhausted",
        "backend_invalid_response",
    },
    503: {"overloaded", "model_unavailable", "shutting_down"},
    504: {"backend_timeout"},
    507: {"insufficient_storage"},
}


def kinds(root: type[PluggablyError] = PluggablyError) -> list[type[PluggablyError]]:
    found = [root]
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            found += kinds(child)
    return found


def made(kind: type[PluggablyError]) -> PluggablyError:
    return InternalError() if kind is InternalError else kind("what was wrong")


KINDS = kinds()


def test_the_codes_are_those_of_the_table() -> None:
    """Every class that can be told has a status and a code of the table, and every row of the table a class."""
    found: dict[int, set[str]] = {}
    for kind in KINDS:
        found.setdefault(kind.status, set()).add(kind.code)
    assert found == TABLE


def test_the_tree_names_every_class() -> None:
    """The picture at the head of the module is whole, and draws nothing that is not there."""
    tree = (inspect.getdoc(errors) or "").partition("\n\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"\b[A-Z][a-z]+[A-Za-z]*", tree))
    assert named == {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_is_told_as_a_problem(kind: type[PluggablyError]) -> None:
    """Its members are those of RFC 9457 and ours, all there, and null where nothing is known."""
    error = made(kind)
    problem = json.loads(msgspec.json.encode(error.problem("req_1")))
    assert problem["type"] == f"https://pluggably.dev/errors/{kind.code}"
    assert (problem["status"], problem["code"], problem["title"]) == (kind.status, kind.code, kind.title)
    assert (problem["request_id"], problem["generation_id"]) == ("req_1", None)
    assert problem["retryable"] is kind.again
    assert set(problem) == {
        "type",
        "title",
        "status",
        "code",
        "detail",
        "request_id",
        "generation_id",
        "retryable",
        "retry_after_s",
        "pointer",
        "errors",
        "backend",
        "backend_status",
        "backend_code",
        "attempts",
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_is_in_one_family(kind: type[PluggablyError]) -> None:
    """The client's fault has a status of 4xx, the gateway's and the backend's none but 429."""
    families = [
        family for family in (ClientError, GatewayError, BackendError, StartupError) if issubclass(kind, family)
    ]
    assert len(families) == (0 if kind is PluggablyError else 1)
    if issubclass(kind, ClientError) and kind is not ClientError:
        assert 400 <= kind.status < 500
    elif not issubclass(kind, ClientError):
        assert kind.status >= 500 or kind.status == 429


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_titles_are_sentences_for_people(kind: type[PluggablyError]) -> None:
    """A title says what it is about, and can stand in an HTTP status line."""
    assert kind.title.isascii()
    assert kind.title[0].isupper()
    assert not kind.title.endswith(".")


def test_again_is_for_what_passes() -> None:
    """Trying the same again helps against load, limits and weather, never against a wrong request or a wrong key."""
    again = {kind.code for kind in KINDS if kind.again}
    assert {"overloaded", "backend_rate_limited", "backend_timeout", "request_timeout", "shutting_down"} <= again
    assert not again & {
        "invalid_request",
        "unauthenticated",
        "permission_denied",
        "model_not_found",
        "conflict",
        "backend_authentication_failed",
        "backend_quota_exhausted",
        "internal_error",
    }


def test_what_an_error_carries_is_told() -> None:
    """Pointer, violations up to a limit, the time to wait, the generation."""
    violations = [Violation(f"/a/{number}", "is wrong") for number in range(MAX_VIOLATIONS + 5)]
    error = InvalidRequest("wrong", pointer="/a/0", violations=violations, retry_after_s=1.5)
    error.generation_id = "gen_1"
    problem = error.problem()
    assert (problem.pointer, problem.retry_after_s, problem.generation_id) == ("/a/0", 1.5, "gen_1")
    assert problem.errors == violations[:MAX_VIOLATIONS]


def test_a_backends_own_words_are_told() -> None:
    """Its name here, its status and its code."""
    error = BackendError("broke", backend_status=418, backend_code="teapot")
    error.backend = "openai"
    problem = error.problem("req_1")
    assert (problem.backend, problem.backend_status, problem.backend_code) == ("openai", 418, "teapot")


def test_a_bug_says_nothing_about_the_inside() -> None:
    """Its words are fixed, so nothing can slip into them."""
    assert InternalError().detail == InternalError().detail
    assert list(inspect.signature(InternalError).parameters) == []
