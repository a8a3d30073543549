"""What a request says to one provider alone brings no URL into the operator's own network."""

from __future__ import annotations

from typing import Any

import pytest

from pluggably.errors import InvalidRequest, UnsupportedParameter
from pluggably.testing.codecs import generation_request
from pluggably.wire.own_urls import refuse_own_urls
from pluggably.wire.parts import merged
from tests.work import lines_run

URL = "http://169.254.169.254/latest/meta-data/"
CALLED = {"type": "tool_call", "id": "1", "name": "f"}


def said_by_a_part(options: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [{"type": "text", "text": "x", "provider_options": {"b": options}}]}]}


def handed_back(data: Any) -> dict[str, Any]:
    item = {"type": "provider_item", "provider": "b", "data": data}
    return {"input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": [item]}]}


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"input": "x", "provider_options": {"b": {"images": [URL]}}}, "/provider_options/b"),
        (said_by_a_part({"image_url": {"url": URL}}), "/input/0/content/0/provider_options/b"),
        (said_by_a_part({"image_url": {"url": " FILE:///etc/passwd"}}), "/input/0/content/0/provider_options/b"),
        (said_by_a_part({"images": ["/srv/secret.png"]}), "/input/0/content/0/provider_options/b"),
        (said_by_a_part({"fileData": {"fileUri": "gs://a/b"}}), "/input/0/content/0/provider_options/b"),
        (said_by_a_part({"source": {"type": "url", "url": URL}}), "/input/0/content/0/provider_options/b"),
        (
            {"input": [{"role": "user", "content": "x", "provider_options": {"b": {"content": [{"url": URL}]}}}]},
            "/input/0/provider_options/b",
        ),
        (
            {
                "input": [
                    {"role": "user", "content": "x"},
                    {"role": "assistant", "content": [CALLED]},
                    {
                        "role": "tool",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_call_id": "1",
                                "content": [{"type": "text", "text": "x", "provider_options": {"b": {"url": URL}}}],
                            }
                        ],
                    },
                ]
            },
            "/input/2/content/0/content/0/provider_options/b",
        ),
        (
            {
                "input": "x",
                "tools": [
                    {
                        "type": "function",
                        "name": "f",
                        "input_schema": {},
                        "provider_options": {"b": {"server_url": URL}},
                    }
                ],
            },
            "/tools/0/provider_options/b",
        ),
        (handed_back({"type": "image_url", "image_url": {"url": URL}}), "/input/1/content/0/data"),
        (handed_back({"type": "document", "source": {"type": "url", "url": URL}}), "/input/1/content/0/data"),
        (handed_back({"video_url": {"url": URL}}), "/input/1/content/0/data"),
    ],
)
def test_a_url_for_the_server_to_fetch_is_refused(said: dict[str, Any], pointer: str) -> None:
    """Wherever a request can say something to one provider alone."""
    with pytest.raises(UnsupportedParameter) as raised:
        refuse_own_urls(generation_request(said), "b")
    assert raised.value.pointer == pointer
    refuse_own_urls(generation_request(said), "another")


@pytest.mark.parametrize(
    "said",
    [
        said_by_a_part({"image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}}),
        said_by_a_part({"images": ["/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD"]}),
        said_by_a_part({"note": URL, "cache_control": {"type": "ephemeral"}}),
        handed_back({"type": "web_search_call", "action": {"type": "open_page", "url": URL}}),
        handed_back({"type": "message", "content": [{"annotations": [{"type": "url_citation", "url": URL}]}]}),
        handed_back({"type": "web_search_result", "url": URL, "title": "a"}),
        {"input": [{"role": "user", "content": [{"type": "text", "text": URL}]}], "provider_options": {"b": {"n": 1}}},
    ],
)
def test_what_no_server_fetches_passes(said: dict[str, Any]) -> None:
    """Data, words that are a URL, and the pages that a vendor's own items quote."""
    refuse_own_urls(generation_request(said), "b")


def test_a_request_that_says_nothing_of_its_own_costs_little() -> None:
    """A few lines for each part, and nothing in it is looked at."""
    parts = [{"type": "text", "text": "x"}] * 100
    request = generation_request({"input": [{"role": "user", "content": parts}]})
    assert lines_run(lambda: refuse_own_urls(request, "b")) < 600


@pytest.mark.parametrize(
    ("value", "own"),
    [
        ({"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": URL}}),
        ({"type": "image_url", "image_url": {"url": "data:,"}}, {"image_url": {"url": URL}}),
        ({"type": "input_image", "image_url": "data:,"}, {"image_url": URL}),
        ({"type": "image", "source": {"type": "base64", "data": ""}}, {"source": {"type": "url", "url": URL}}),
        ({"inlineData": {"data": ""}}, {"inlineData": {"data": "x"}}),
        ({"role": "user", "content": "x"}, {"content": [{"type": "image_url", "image_url": {"url": URL}}]}),
        ({"role": "user", "content": "x"}, {"role": "system"}),
    ],
)
def test_options_never_replace_content(value: dict[str, Any], own: dict[str, Any]) -> None:
    """It has been checked, and would not be what is counted and told of any more."""
    with pytest.raises(InvalidRequest):
        merged(value, own)


@pytest.mark.parametrize(
    ("value", "own", "joined"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:,"}},
            {"image_url": {"detail": "high"}},
            {"type": "image_url", "image_url": {"url": "data:,", "detail": "high"}},
        ),
        (
            {"type": "text", "text": "x"},
            {"type": "text", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
        ),
        (
            {"document": {"name": "a", "source": {"bytes": ""}}},
            {"document": {"citations": {"enabled": True}}},
            {"document": {"name": "a", "source": {"bytes": ""}, "citations": {"enabled": True}}},
        ),
        (
            {"inlineData": {"data": ""}},
            {"mediaResolution": {"level": "LOW"}, "videoMetadata": {"fps": 5}},
            {"inlineData": {"data": ""}, "mediaResolution": {"level": "LOW"}, "videoMetadata": {"fps": 5}},
        ),
        (
            {"thinking": {"type": "adaptive"}, "text": {"format": {"type": "text"}}},
            {"thinking": {"type": "enabled"}, "text": {"format": {"type": "json_object"}, "verbosity": "low"}},
            {"thinking": {"type": "enabled"}, "text": {"format": {"type": "json_object"}, "verbosity": "low"}},
        ),
    ],
)
def test_options_stand_beside_content(value: dict[str, Any], own: dict[str, Any], joined: dict[str, Any]) -> None:
    """Or inside its object; what a request as a whole says may be said in another way."""
    assert merged(value, own) == joined
