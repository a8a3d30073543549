"""What clients do that no HTTP library would: the server bounds it, answers it as a problem, and leaks nothing."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest
from loopback_server import (
    BODY_BYTES,
    HEADER_BYTES,
    KEY,
    Client,
    Loopback,
    Received,
    Times,
    eventually,
    running_server,
    settled,
)

from pluggably.api.server import MOST_PIPELINED

HOST = b"Host: gateway\r\n"
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with running_server(Times()) as running:
        yield running


@pytest.fixture(scope="module")
def quick() -> Iterator[Loopback]:
    """A server with little patience: heads, bodies and idle connections are cut soon."""
    with running_server(Times(head_s=0.3, body_s=0.3, write_s=0.3, keep_alive_s=0.4)) as running:
        yield running


def get(path: bytes, more: bytes = b"", method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"%s %s HTTP/%s\r\n%s%s\r\n" % (method, path, version, HOST, more)


def post(body: bytes, more: bytes = b"", path: bytes = b"/echo") -> bytes:
    return get(path, b"%sContent-Length: %d\r\n%s" % (JSON, len(body), more), b"POST") + body


def chunked(body: bytes, more: bytes = b"", path: bytes = b"/echo") -> bytes:
    """A request whose body is `body` as it is: chunks, or what claims to be."""
    return get(path, b"%sTransfer-Encoding: chunked\r\n%s" % (JSON, more), b"POST") + body


def check_problem(answer: Received, status: int, code: str) -> None:
    """Every error is a problem with the same members, whoever found it."""
    assert (answer.status, answer.json["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["type"] == f"https://pluggably.dev/errors/{code}"
    assert answer.json["title"]
    assert answer.json["detail"]
    assert answer.headers["x-request-id"] == answer.json["request_id"]


def check_refused(client: Client, status: int, code: str) -> None:
    """One problem, and the end of the connection."""
    answer = client.answer()
    check_problem(answer, status, code)
    assert answer.headers["connection"] == "close"
    assert client.is_closed()


# ── the size of a head ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "head",
    [
        get(b"/hello", b"".join(b"X-%d: %s\r\n" % (i, b"a" * 100) for i in range(1000))),
        b"GET /hello HTTP/1.1\r\nX-Endless: " + b"a" * (4 * HEADER_BYTES),
        b"GET /hello HTTP/1.1\r\nX-" + b"a" * (4 * HEADER_BYTES),
        b"GET /" + b"a" * (4 * HEADER_BYTES),
        b"GET /hello?" + b"a=b&" * HEADER_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n" + b"a:\r\n" * HEADER_BYTES + b"\r\n",
    ],
    ids=["many headers", "endless value", "endless name", "endless url", "long query", "many empty headers"],
)
def test_a_head_that_is_too_large_is_refused(server: Loopback, head: bytes) -> None:
    """A head over the limit answers 431 and closes, however it grew, even where its end never comes."""
    with server.connect() as client:
        client.send(head)
        check_refused(client, 431, "headers_too_large")


def test_a_head_that_grows_slowly_is_refused(server: Loopback) -> None:
    """The limit counts all bytes of a head, not those of one read."""
    with server.connect() as client:
        client.send(b"GET /hello HTTP/1.1\r\n")
        for i in range(HEADER_BYTES // 900 + 2):
            client.send(b"X-%d: %s\r\n" % (i, b"a" * 900))
        check_refused(client, 431, "headers_too_large")


def test_a_head_just_under_the_limit_is_taken(server: Loopback) -> None:
    """A head of almost the limit is an ordinary request."""
    answer = server.ask(get(b"/hello", b"X-Long: %s\r\n" % (b"a" * (HEADER_BYTES - 200))))
    assert answer.status == 200


def test_the_limit_counts_each_head_anew(server: Loopback) -> None:
    """Many requests on one connection may have more bytes of head together than one may have."""
    with server.connect() as client:
        for _ in range(8):
            client.send(get(b"/hello", b"X-Long: %s\r\n" % (b"a" * (HEADER_BYTES // 2))))
            assert client.answer().status == 200


# ── the time of a head ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("start", [b"G", b"GET /hello HTTP/1.1\r\n", b"GET /hello HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_never_ends_times_out(quick: Loopback, start: bytes) -> None:
    """A head that stops in the middle answers 408 and closes."""
    with quick.connect() as client:
        client.send(start)
        check_refused(client, 408, "request_timeout")


def test_a_head_that_drips_times_out(quick: Loopback) -> None:
    """A byte now and then does not buy more time."""
    with quick.connect() as client:
        client.socket.settimeout(0.05)
        answered = b""
        for byte in b"GET /hello HTTP/1.1\r\n" + b"X-Slow: " + b"a" * 200:
            client.send(bytes([byte]))
            try:
                answered = client.socket.recv(65536)
            except TimeoutError:
                continue
            break
        assert answered.startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_says_nothing_is_closed(quick: Loopback) -> None:
    """A connection on which nothing was ever sent is closed without a word."""
    with quick.connect() as client:
        assert client.is_closed()


def test_a_connection_that_only_sends_line_ends_is_closed(quick: Loopback) -> None:
    """Line ends before a request are skipped by the parser, and are no way to hold a connection."""
    with quick.connect() as client:
        client.send(b"\r\n\r\n")
        assert client.is_closed()


def test_an_idle_connection_is_closed_after_its_answer(quick: Loopback) -> None:
    """A kept connection goes when no further request comes."""
    with quick.connect() as client:
        client.send(get(b"/hello"))
        assert client.answer().status == 200
        assert client.is_closed()


@pytest.mark.parametrize("crumb", [b"\r\n", b"G"])
def test_crumbs_after_an_answer_do_not_hold_the_connection(quick: Loopback, crumb: bytes) -> None:
    """After an answer, a line end or half a head buys no more time than a head has."""
    with quick.connect() as client:
        client.send(get(b"/hello"))
        assert client.answer().status == 200
        client.send(crumb)
        client.rest()


def test_a_body_that_nobody_reads_does_not_hold_the_connection(quick: Loopback) -> None:
    """The rest of a body that came after its answer is no way to hold a connection."""
    with quick.connect() as client:
        client.send(get(b"/guarded", JSON + b"Content-Length: 1000\r\n", b"POST"))
        assert client.answer().status == 401
        client.send(b"a")
        client.rest()


# ── bodies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_body_that_says_it_is_too_large_is_not_read(server: Loopback) -> None:
    """A Content-Length over the limit is refused before a byte of the body has come."""
    with server.connect() as client:
        client.send(get(b"/echo", JSON + b"Content-Length: %d\r\n" % (BODY_BYTES + 1), b"POST"))
        check_refused(client, 413, "payload_too_large")


def test_a_body_that_is_too_large_is_refused_while_it_comes(server: Loopback) -> None:
    """A client that sends all of a body that is too large still reads why it was refused."""
    with server.connect() as client:
        client.send(post(b"a" * (BODY_BYTES * 8)))
        check_refused(client, 413, "payload_too_large")


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
def test_a_client_that_sends_first_reads_why_it_was_refused(server: Loopback, header: bytes) -> None:
    """The connection is not reset under a client that is still sending, with keep-alive or without, as proxies ask."""
    size = 40 << 20
    with server.connect() as client:
        client.send(get(b"/echo", JSON + header + b"Content-Length: %d\r\n" % size, b"POST"))
        for _ in range(40):
            client.send(b"a" * (1 << 20))
        check_refused(client, 413, "payload_too_large")


def test_a_client_that_never_stops_sending_is_cut(server: Loopback) -> None:
    """What is taken of a refused body is bounded."""
    with server.connect() as client:
        client.send(get(b"/echo", JSON + b"Content-Length: %d\r\n" % (1 << 40), b"POST"))
        with pytest.raises(ConnectionError):
            for _ in range(1024):
                client.socket.sendall(b"a" * (1 << 20))


def test_a_chunked_body_is_counted(server: Loopback) -> None:
    """A body of unknown length is refused once it has grown over the limit."""
    with server.connect() as client:
        client.send(chunked(b"10000\r\n" + b"a" * 0x10000 + b"\r\n"))
        client.send((b"8000\r\n" + b"a" * 0x8000 + b"\r\n") * 20)
        check_refused(client, 413, "payload_too_large")


@pytest.mark.parametrize("size", [0, 1, BODY_BYTES])
def test_a_body_up_to_the_limit_is_taken(server: Loopback, size: int) -> None:
    """Bodies of any size up to the limit come whole, by length and by chunks."""
    body = b"a" * size
    assert server.ask(post(body)).json["bytes"] == size
    pieces = b"%x\r\n%s\r\n0\r\n\r\n" % (size, body) if size else b"0\r\n\r\n"
    assert server.ask(chunked(pieces)).json["bytes"] == size


def test_chunks_of_one_byte_are_one_body(server: Loopback) -> None:
    """Chunks, extensions and trailers make no difference to what the body is."""
    pieces = b"1;name=value\r\na\r\n" * 1000 + b"0\r\nX-Trailer: yes\r\n\r\n"
    assert server.ask(chunked(pieces)).json["bytes"] == 1000


@pytest.mark.parametrize("start", [post(b"a" * 1000)[:-500], chunked(b"5\r\nab")], ids=["length", "chunks"])
def test_a_body_that_stops_times_out(quick: Loopback, start: bytes) -> None:
    """A body that stops in the middle answers 408 and closes."""
    with quick.connect() as client:
        client.send(start)
        check_refused(client, 408, "request_timeout")


def test_a_body_that_drips_times_out(quick: Loopback) -> None:
    """A byte of body now and then does not buy more time."""
    with quick.connect() as client:
        client.socket.settimeout(0.05)
        client.send(get(b"/echo", JSON + b"Content-Length: 1000\r\n", b"POST"))
        answered = b""
        for _ in range(200):
            client.send(b"a")
            try:
                answered = client.socket.recv(65536)
            except TimeoutError:
                continue
            break
        assert answered.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_cut_off_reaches_no_handler(server: Loopback) -> None:
    """A client that leaves in the middle of its body leaves nothing behind."""
    before = server.tasks()
    with server.connect() as client:
        client.send(post(b"a" * 1000)[:-500])
        eventually(lambda: server.tasks() > before)
    eventually(lambda: server.tasks() == before)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"-1\r\nabc\r\n",
        b"+5\r\nabcde\r\n0\r\n\r\n",
        b"0x5\r\nabcde\r\n0\r\n\r\n",
        b"ffffffffffffffff1\r\n",
        b"5\r\nabcdefgh\r\n0\r\n\r\n",
        b"\r\n",
        b"5 5\r\nabcde\r\n",
    ],
)
def test_bad_chunks_are_refused(server: Loopback, chunks: bytes) -> None:
    """Chunks that are none answer 400 and close."""
    with server.connect() as client:
        client.send(chunked(chunks))
        check_refused(client, 400, "invalid_request")


def test_a_body_of_another_type_is_refused(server: Loopback) -> None:
    """What does not say that it is JSON, or says that it is packed, answers 415."""
    plain = get(b"/echo", b"Content-Type: text/plain\r\nContent-Length: 2\r\n", b"POST") + b"{}"
    check_problem(server.ask(plain), 415, "unsupported_media_type")
    unnamed = get(b"/echo", b"Content-Length: 2\r\n", b"POST") + b"{}"
    check_problem(server.ask(unnamed), 415, "unsupported_media_type")
    check_problem(server.ask(post(b"{}", b"Content-Encoding: gzip\r\n")), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "name", [b"application/json; charset=utf-8", b"APPLICATION/JSON", b" application/json ", b"application/json;"]
)
def test_the_media_type_may_be_written_in_other_ways(server: Loopback, name: bytes) -> None:
    """Parameters, case and white space of a media type do not matter."""
    asked = get(b"/echo", b"Content-Type:%s\r\nContent-Length: 2\r\n" % name, b"POST") + b"{}"
    assert server.ask(asked).status == 200


def test_a_refused_key_costs_no_body(server: Loopback) -> None:
    """The credential is judged before the body is asked for: no 100 Continue, and no wait for what never comes."""
    with server.connect() as client:
        client.send(get(b"/guarded", JSON + b"Expect: 100-continue\r\nContent-Length: 1000\r\n", b"POST"))
        answer = client.answer()
        check_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_client_that_asks_first_is_told_to_go_on(server: Loopback) -> None:
    """`Expect: 100-continue` is answered once the body is wanted."""
    with server.connect() as client:
        more = JSON + b"Expect: 100-continue\r\nContent-Length: 5\r\nAuthorization: Bearer %s\r\n" % KEY.encode()
        client.send(get(b"/guarded", more, b"POST"))
        assert client.answer().status == 100
        client.send(b"abcde")
        assert client.answer().json["bytes"] == 5


# ── what is no HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET\r\n\r\n",
        b"GET /hello HTTP/9.9\r\n\r\n",
        b"GET /hello HTTQ/1.1\r\n\r\n",
        b"GE T /hello HTTP/1.1\r\n\r\n",
        b"get /hello HTTP/1.1\r\n\r\n",
        b"GET /he\x00llo HTTP/1.1\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nNo-Colon\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n: no name\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nSpa ce: a\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nBefore-Colon : a\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nX: a\x07b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nX: a\x7fb\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nX: a\rb\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nX: a\r\n folded\r\n\r\n",
        b"CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n",
        b"GET other:443 HTTP/1.1\r\nHost: other\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server: Loopback, garbage: bytes) -> None:
    """Garbage answers 400 as a problem, and closes."""
    with server.connect() as client:
        client.send(garbage)
        check_refused(client, 400, "invalid_request")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: \r\n",
        b"Content-Length: 99999999999999999999999999\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding: chun\r\n ked\r\n",
    ],
)
def test_two_readings_of_a_body_are_refused(server: Loopback, headers: bytes) -> None:
    """Where two servers could cut the stream at different places, this one refuses; nothing is smuggled in."""
    inner = get(b"/smuggled")
    server.seen.paths.clear()
    with server.connect() as client:
        client.send(get(b"/echo", JSON + headers, b"POST") + b"5\r\nabcde\r\n0\r\n\r\n" + inner)
        check_refused(client, 400, "invalid_request")
    assert "/smuggled" not in server.seen.paths


def test_a_request_hidden_in_a_body_stays_there(server: Loopback) -> None:
    """What stands in a body is read as body, by length and by chunks."""
    inner = get(b"/smuggled")
    server.seen.paths.clear()
    assert server.ask(post(inner)).json["bytes"] == len(inner)
    assert server.ask(chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner))).json["bytes"] == len(inner)
    assert "/smuggled" not in server.seen.paths


def test_a_body_of_a_get_is_no_request(server: Loopback) -> None:
    """A GET may have a body; it is skipped, and the connection goes on behind it."""
    server.seen.paths.clear()
    inner = get(b"/smuggled")
    with server.connect() as client:
        client.send(get(b"/hello", b"Content-Length: %d\r\n" % len(inner)) + inner + get(b"/items/last"))
        assert client.answer().json["path"] == "/hello"
        assert client.answer().json["path"] == "/items/last"
    assert "/smuggled" not in server.seen.paths


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.0"])
def test_an_upgrade_is_declined(server: Loopback, upgrade: bytes) -> None:
    """An upgrade that we do not know is ignored: the request is answered, and so is the next one."""
    more = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABk\r\n" % upgrade
    with server.connect() as client:
        client.send(get(b"/hello", more))
        assert client.answer().status == 200
        client.send(get(b"/items/2"))
        assert client.answer().json["path"] == "/items/2"


def test_an_upgrade_does_not_lose_the_body(server: Loopback) -> None:
    """A POST that offers an upgrade (curl --http2 does) keeps its body."""
    with server.connect() as client:
        client.send(post(b"abcde", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"))
        assert client.answer().json["bytes"] == 5
        client.send(post(b"abc"))
        assert client.answer().json["bytes"] == 3


# ── methods and paths ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", [b"OPTIONS", b"PUT", b"PATCH", b"TRACE", b"GET", b"HEAD"])
def test_a_method_that_a_path_does_not_take_is_told(server: Loopback, method: bytes) -> None:
    """Another method answers 405, and says which it takes."""
    with server.connect() as client:
        client.send(get(b"/echo", method=method))
        answer = client.answer(method.decode())
        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, POST")
        if method != b"HEAD":
            check_problem(answer, 405, "method_not_allowed")
        client.send(get(b"/hello"))
        assert client.answer().status == 200


def test_head_is_get_without_a_body(server: Loopback) -> None:
    """HEAD has the head that GET has, and the next answer follows at once."""
    with server.connect() as client:
        client.send(get(b"/hello", method=b"HEAD"))
        head = client.answer("HEAD")
        client.send(get(b"/hello"))
        assert client.answer().headers["content-length"] == head.headers["content-length"]
        client.send(get(b"/nothing", method=b"HEAD"))
        assert client.answer("HEAD").status == 404
        client.send(get(b"/hello"))
        assert client.answer().status == 200


def test_an_unknown_path_is_told(server: Loopback) -> None:
    """What is not in the table answers 404, as a problem."""
    for path in (b"/", b"/nothing", b"/hello/", b"//hello", b"/HELLO", b"/hello;a=b", b"/hello%2f", b"/h%00llo"):
        check_problem(server.ask(get(path)), 404, "not_found")


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (b"/items/%2e%2e/hello", "/items/../hello"),
        (b"/items/../hello", "/items/../hello"),
        (b"/items/a%00b", "/items/a\0b"),
        (b"/items/%ff%fe", "/items/\ufffd\ufffd"),
        (b"/items/%ed%a0%80", "/items/\ufffd\ufffd\ufffd"),
        (b"/items/%c3%a9", "/items/\xe9"),
        (b"/items/%", "/items/%"),
        (b"/items/%zz", "/items/%zz"),
        (b"/items/%252e", "/items/%2e"),
        (b"/items/a%2fb", "/items/a/b"),
        (b"http://elsewhere/items/a", "/items/a"),
        (b"/items/a?b=%ff&c=%00", "/items/a"),
    ],
)
def test_a_path_is_decoded_once_and_never_walked(server: Loopback, sent: bytes, path: str) -> None:
    """Percent escapes are decoded once; dots are letters; nothing of a path can break an answer's head."""
    answer = server.ask(get(sent))
    assert (answer.status, answer.json["path"]) == (200, path)


def test_a_path_cannot_break_an_answers_head(server: Loopback) -> None:
    """Escaped line ends in a path put no header into the answer."""
    answer = server.ask(get(b"/items/a%0d%0aX-Injected:%20yes"))
    assert answer.status in (200, 404)
    assert "x-injected" not in answer.headers


@pytest.mark.parametrize("sent", [b"/items/\xff", b"/items/\xc3\xa9", b"http://", b"*", b"hello", b"http://elsewhere"])
def test_a_path_that_is_none_is_refused(server: Loopback, sent: bytes) -> None:
    """Bytes that no path has, and targets that are no path, answer 400 or 404, and never reach a handler."""
    answer = server.ask(get(sent))
    assert answer.status in (400, 404)
    check_problem(answer, answer.status, answer.json["code"])


# ── the request's id ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sane", ["a", "req-1", "A" * 128, "0123:abc_DEF.x"])
def test_a_sane_request_id_is_kept(server: Loopback, sane: str) -> None:
    """The client's own id comes back, on success and in a problem."""
    assert server.ask(get(b"/hello", b"X-Request-Id: %s\r\n" % sane.encode())).headers["x-request-id"] == sane
    missing = server.ask(get(b"/nothing", b"X-Request-Id: %s\r\n" % sane.encode()))
    assert missing.json["request_id"] == missing.headers["x-request-id"] == sane


@pytest.mark.parametrize(
    "hostile",
    [b"A" * 129, b"a b", b"a\tb", b"\xff\xfe", b"<script>", b"a,b", b"a\\nb", b"{}", b"\x1b[31m"[1:], b"a\xa0"],
)
def test_a_hostile_request_id_is_replaced(server: Loopback, hostile: bytes) -> None:
    """An id that is not safe in a header, a log line and a URL is not repeated."""
    answer = server.ask(get(b"/nothing", b"X-Request-Id: %s\r\n" % hostile))
    assert answer.headers["x-request-id"].startswith("req_")
    assert hostile not in answer.body


def test_every_answer_has_a_request_id(server: Loopback, quick: Loopback) -> None:
    """Success, problems, bugs and what the server itself refuses all carry an id of their own."""
    asked = [get(b"/hello"), get(b"/nothing"), get(b"/broken"), b"garbage\r\n\r\n", b"GET /" + b"a" * 2 * HEADER_BYTES]
    ids = [server.ask(data).headers["x-request-id"] for data in asked]
    ids.append(quick.ask(b"GET /").headers["x-request-id"])
    assert len(set(ids)) == len(ids)
    assert all(one.startswith("req_") for one in ids)


def test_a_bug_tells_nothing_about_the_inside(server: Loopback) -> None:
    """A handler's bug answers 500 without a word of it, and the connection goes on."""
    with server.connect() as client:
        client.send(get(b"/broken"))
        answer = client.answer()
        check_problem(answer, 500, "internal_error")
        assert b"Zero" not in answer.body
        client.send(get(b"/hello"))
        assert client.answer().status == 200


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pipelined_requests_are_answered_in_order(server: Loopback) -> None:
    """Requests sent without waiting are answered one after the other, bodies between them included."""
    with server.connect() as client:
        client.send(b"".join(get(b"/items/%d" % i) + post(b"a" * i) for i in range(50)))
        for i in range(50):
            assert client.answer().json["path"] == f"/items/{i}"
            assert client.answer().json["bytes"] == i


def test_no_more_requests_wait_than_the_limit_says(server: Loopback) -> None:
    """What one read brings beyond it is not kept: the connection is closed behind the answers of those before."""
    with server.connect() as client:
        client.send(get(b"/hello") * 1000)
        answers = [client.answer() for _ in range(1 + MOST_PIPELINED)]
        assert {answer.status for answer in answers} == {200}
        assert answers[-1].headers["connection"] == "close"
        assert client.is_closed()


def test_http_1_0_closes(server: Loopback) -> None:
    """HTTP/1.0 is answered, and its connection closed."""
    with server.connect() as client:
        client.send(b"GET /hello HTTP/1.0\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.is_closed()


def test_http_1_0_knows_no_chunks(server: Loopback) -> None:
    """What has no length comes to such a client as it is, and ends with the connection."""
    with server.connect() as client:
        client.send(b"GET /flood HTTP/1.0\r\n\r\n")
        answer = client.head()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert "transfer-encoding" not in answer.headers
        assert client.receive().startswith(b"x" * 100)


def test_connection_close_is_obeyed(server: Loopback) -> None:
    """A client that says that it will close is answered, and the connection closed."""
    with server.connect() as client:
        client.send(get(b"/hello", b"Connection: close\r\n"))
        assert client.answer().status == 200
        assert client.is_closed()


def leave_by_close(client: Client) -> None:
    client.socket.close()


def leave_by_reset(client: Client) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def leave_by_half(client: Client) -> None:
    client.socket.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_reset, leave_by_half])
@pytest.mark.parametrize("path", [b"/wait", b"/stream", b"/flood"])
@pytest.mark.parametrize(
    "behind",
    [b"", b"GE", get(b"/hello"), get(b"/wait") + get(b"/stream"), post(b"abc")[:-1]],
    ids=["alone", "half a head behind", "a request behind", "two behind", "half a body behind"],
)
def test_a_client_that_leaves_cancels_its_request(
    server: Loopback, caplog: pytest.LogCaptureFixture, leave: type, path: bytes, behind: bytes
) -> None:
    """However a client leaves, and whatever it had sent behind its request, the request is cancelled soon, and no
    error is logged for it."""
    before = server.seen.cancelled
    with server.connect() as client:
        client.send(get(path) + behind)
        eventually(lambda: server.seen.waiting == 1)
        leave(client)
        eventually(lambda: server.seen.waiting == 0, within_s=2)
    assert server.seen.cancelled == before + 1
    eventually(lambda: server.tasks() <= 2)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("behind", [b"garbage\r\n\r\n", b"GET /" + b"a" * 2 * HEADER_BYTES, b"GET /slow"])
def test_what_comes_behind_a_request_does_not_break_into_its_answer(quick: Loopback, behind: bytes) -> None:
    """While an answer is being sent, a wrong, too large or slow head behind it puts nothing between its pieces."""
    with quick.connect() as client:
        client.send(get(b"/stream"))
        assert client.head().status == 200
        eventually(lambda: quick.seen.waiting == 1)
        client.send(behind)
        client.socket.settimeout(0.8)
        received = b""
        try:
            while piece := client.receive():
                received += piece
        except TimeoutError:
            pass
        assert received in (b"5\r\nfirst\r\n", b"")
    eventually(lambda: quick.seen.waiting == 0)


def test_a_client_that_does_not_read_stops_the_answer(server: Loopback) -> None:
    """What a client does not take is not made: an endless answer stops within a few buffers."""
    server.seen.sent_bytes = 0
    with server.connect() as client:
        client.send(get(b"/flood"))
        eventually(lambda: server.seen.sent_bytes > 0)
        sent = settled(lambda: server.seen.sent_bytes)
        assert sent < 16 * 1024 * 1024
        client.receive()
        eventually(lambda: client.receive() != b"" and server.seen.sent_bytes > sent)
    eventually(lambda: server.seen.waiting == 0)


def test_a_client_that_never_reads_is_cut(quick: Loopback) -> None:
    """A client that takes nothing for long does not hold its request, and what serves it, for good."""
    before = quick.seen.cancelled
    with quick.connect() as client:
        client.send(get(b"/flood"))
        eventually(lambda: quick.seen.cancelled == before + 1)


def test_a_client_that_does_not_read_does_not_hold_others(server: Loopback) -> None:
    """One that does not read its answer costs others nothing."""
    with server.connect() as stuck:
        stuck.send(get(b"/flood"))
        eventually(lambda: server.seen.waiting == 1)
        assert server.ask(get(b"/hello")).status == 200
    eventually(lambda: server.seen.waiting == 0)


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def test_connections_that_are_dropped_leave_nothing(server: Loopback) -> None:
    """Two thousand connections, dropped in every state: no task and no file descriptor stays."""
    states = [b"", b"G", get(b"/hello"), get(b"/wait"), get(b"/stream"), get(b"/flood"), post(b"a" * 9)[:-3], b"\x00"]
    assert server.ask(get(b"/hello")).status == 200
    eventually(lambda: server.tasks() <= 2)
    tasks, files = server.tasks(), open_files()
    for turn in range(20):
        clients = [server.connect() for _ in range(100)]
        for position, client in enumerate(clients):
            client.send(states[position % len(states)])
        for position, client in enumerate(clients):
            if (position + turn) % 3 == 0:
                leave_by_reset(client)
            client.socket.close()
    eventually(lambda: server.seen.waiting == 0)
    eventually(lambda: server.tasks() <= tasks)
    eventually(lambda: open_files() <= files)
    assert server.ask(get(b"/hello")).status == 200
