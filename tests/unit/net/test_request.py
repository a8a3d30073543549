"""URLs and heads as bytes. What must be refused, and over a socket: tests/integration/test_net_wire.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggably.errors import BackendUnreachable
from pluggably.net.request import Destination


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("http://example.test/a", (False, "example.test", 80), "example.test"),
        ("https://example.test", (True, "example.test", 443), "example.test"),
        ("HTTPS://Example.test:8443/a", (True, "example.test", 8443), "example.test:8443"),
        ("http://127.0.0.1:80/", (False, "127.0.0.1", 80), "127.0.0.1"),
        ("http://[::1]:8080/", (False, "::1", 8080), "[::1]:8080"),
        ("http://bücher.test/", (False, "xn--bcher-kva.test", 80), "xn--bcher-kva.test"),
    ],
)
def test_where_a_url_leads(url: str, origin: tuple[bool, str, int], host: str) -> None:
    """Scheme, name and port, each with its default, and the name as the head says it."""
    destination = Destination(url)
    assert destination.origin == origin
    assert f"\r\nHost: {host}\r\n".encode() in destination.head("GET", {}, 0, keep=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/a",
        "example.test",
        "ftp://example.test/",
        "http:///a",
        "http://:80/",
        "http://a b/",
        "http://exa<mple/",
        "http://example.test:port/",
        "http://example.test:99999/",
        "http://[::1/",
        "http://a..b/",
        "http://" + "a" * 70 + "/",
        "http://example.test/\r\nX: y",
        "http://example.test\x7f/",
    ],
)
def test_what_is_no_url(url: str) -> None:
    """Nothing is guessed, and nothing has left."""
    with pytest.raises(BackendUnreachable, match="`base_url`") as caught:
        Destination(url)
    assert not caught.value.sent


def test_a_whole_head() -> None:
    """The given headers as they are, and what HTTP needs beside them."""
    head = Destination("http://example.test/a?b=c").head("POST", {"X-Key": "one", "Accept": "*/*"}, 5, keep=False)
    assert head == (
        b"POST /a?b=c HTTP/1.1\r\nHost: example.test\r\nX-Key: one\r\nAccept: */*\r\n"
        b"Accept-Encoding: gzip, deflate\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
    )


def test_the_caller_may_say_some_of_it() -> None:
    """A Host, an Accept-Encoding or an Authorization of the caller's stands in place of ours."""
    given_headers = {"host": "other.test", "accept-encoding": "identity", "authorization": "Bearer a"}
    head = Destination("http://name:word@example.test/").head("GET", given_headers, 0, keep=True)
    assert head == (
        b"GET / HTTP/1.1\r\nhost: other.test\r\naccept-encoding: identity\r\nauthorization: Bearer a\r\n\r\n"
    )


@given(st.dictionaries(st.text(), st.text(), max_size=4))
def test_a_head_has_one_line_for_each_header(headers: dict[str, str]) -> None:
    """Whatever names and values are, a head is refused or says exactly them."""
    try:
        head = Destination("http://example.test/").head("GET", headers, 0, keep=True)
    except BackendUnreachable:
        return
    lines = head.decode().split("\r\n")
    for name, value in headers.items():
        assert f"{name}: {value}" in lines
    ours = {"host", "accept-encoding"} - {name.lower() for name in headers}
    assert len(lines) == 1 + len(headers) + len(ours) + 2
    assert "\n" not in "".join(lines)
