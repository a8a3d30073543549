"""Images, files and audio by URL and as data, through the installed command, a fake vendor and a small web server."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from e2e.harness import Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_openai import FakeOpenAI

PNG = b"\x89PNG\r\n\x1a\n and so on"
PDF = b"%PDF-1.7 and so on"
WAV = b"RIFF\x10\0\0\0WAVEfmt and so on"
PAGES = {"/a.png": PNG, "/report.pdf": PDF, "/a.wav": WAV, "/page": b"<!doctype html>", "/large": bytes(200_000)}


class Web:
    """A web server on this machine that the operator allows."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.waiting = 0
        self.left = 0
        seen = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                path = self.path.partition("?")[0]
                if path == "/slow":
                    seen.waiting += 1
                    self.rfile.read(1)  # until the other side closes
                    seen.left += 1
                elif path == "/inner":
                    self.answer(302, b"", ("Location", "http://169.254.169.254/latest/meta-data/"))
                elif path in PAGES:
                    self.answer(200, PAGES[path], ("Content-Type", "text/html"))
                else:
                    self.answer(404, b"nothing here")

            def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
                self.send_response(status)
                for name, value in (*headers, ("Content-Length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.port = self.server.server_address[1]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    web = Web()
    thread = threading.Thread(target=web.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield web
    web.server.shutdown()
    web.server.server_close()


@pytest.fixture(scope="module")
def gateway(fake: FakeOpenAI, web: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a provider that takes images by URL, one that takes none, and a local one."""
    there = {"codec": "openai", "base_url": fake.base_url, "api_key": "sk-fake-provider-key-of-the-operator"}
    config: Json = {
        "providers": {
            "urls": there,
            "data": {**there, "options": {"inputs": ["image", "file", "audio"]}},
            "text": {**there, "options": {"inputs": []}},
            "box": {**there, "location": "local"},
        },
        "models": {"either": {"targets": ["data/echo", "urls/echo"]}},
        "inputs": {"allow_hosts": ["127.0.0.1"], "allow_ports": [web.port], "max_part_bytes": "100KiB"},
        "demo": False,
    }
    with start_gateway(tmp_path_factory.mktemp("inputs"), config) as running:
        yield running


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Client:
    return gateway.client


@pytest.fixture(autouse=True)
def nothing_asked(web: Web) -> None:
    web.asked.clear()


def user(*parts: Json) -> list[Json]:
    return [{"role": "user", "content": [{"type": "text", "text": "Look"}, *parts]}]


def sent(fake: FakeOpenAI) -> list[Json]:
    """The media parts of the last call, as the vendor got them."""
    parts: list[Json] = fake.requests[-1].body["messages"][-1]["content"][1:]
    return parts


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize("provider", ["data", "box"])
def test_urls_become_data_where_the_target_takes_none(
    client: Client, fake: FakeOpenAI, web: Web, provider: str
) -> None:
    """The gateway fetches each URL once, without credentials, and sends what it holds under its own type."""
    given = user(
        {"type": "image", "url": web.url("/a.png?token=secret")},
        {"type": "image", "url": web.url("/a.png?token=secret")},
        {"type": "file", "url": web.url("/report.pdf")},
        {"type": "audio", "url": web.url("/a.wav")},
    )
    answer = client.answer(f"{provider}/echo", given)
    assert answer["output"][0]["text"] == "Look"
    assert answer["warnings"] == []
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{as_base64(PNG)}"}}
    document = {"filename": "report.pdf", "file_data": f"data:application/pdf;base64,{as_base64(PDF)}"}
    sound = {"type": "input_audio", "input_audio": {"data": as_base64(WAV), "format": "wav"}}
    assert sent(fake) == [image, image, {"type": "file", "file": document}, sound]
    assert sorted(path for path, _ in web.asked) == ["/a.png?token=secret", "/a.wav", "/report.pdf"]
    for _, headers in web.asked:
        assert set(headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}


@pytest.mark.parametrize(("provider", "fetched"), [("data", True), ("urls", False)])
def test_an_image_in_a_tools_result_is_brought_by_the_user(
    client: Client, fake: FakeOpenAI, web: Web, provider: str, fetched: bool
) -> None:
    """Its URL is fetched, or left to the target, as in any message of the user."""
    url = web.url("/a.png")
    said: list[Json] = [
        {"role": "user", "content": "What does the camera see?"},
        {"role": "assistant", "content": [{"type": "tool_call", "id": "call_1", "name": "camera"}]},
        {
            "role": "tool",
            "content": [
                {"type": "tool_result", "tool_call_id": "call_1", "content": [{"type": "image", "url": url}]},
            ],
        },
    ]
    answer = client.answer(f"{provider}/echo", said)
    assert [(one["code"], one["parameter"]) for one in answer["warnings"]] == [
        ("parameter_changed", "/input/2/content/0/content/0")
    ]
    assert fake.requests[-1].body["messages"][-2]["content"] == "(Image 1 of the result of call_1 follows.)"
    assert fake.requests[-1].body["messages"][-1]["role"] == "user"
    expected = f"data:image/png;base64,{as_base64(PNG)}" if fetched else url
    assert [part["image_url"]["url"] for part in sent(fake)] == [expected]
    assert len(web.asked) == fetched


def test_a_stream_waits_for_its_inputs(client: Client, fake: FakeOpenAI, web: Web) -> None:
    """A streamed answer begins once its inputs are there."""
    end = client.stream("data/echo", user({"type": "image", "url": web.url("/a.png")})).end()
    assert (end["status"], len(web.asked)) == ("completed", 1)
    assert sent(fake)[0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_url_is_left_to_a_target_that_takes_it(client: Client, fake: FakeOpenAI, web: Web) -> None:
    """Nothing is fetched for a provider that fetches itself, not even from an address that the gateway would refuse."""
    for url in (web.url("/a.png"), "http://169.254.169.254/a.png"):
        client.answer("urls/echo", user({"type": "image", "url": url}))
        assert sent(fake)[0]["image_url"]["url"] == url
    assert web.asked == []


def test_what_the_gateway_cannot_fetch_another_target_may(client: Client, fake: FakeOpenAI) -> None:
    """A route goes on to the target that takes the URL as it is."""
    url = "http://169.254.169.254/a.png"
    answer = client.answer("either", user({"type": "image", "url": url}))
    assert answer["served_by"]["backend"] == "urls"
    assert [one["code"] for one in answer["attempts"]] == ["input_url_refused"]
    assert sent(fake)[0]["image_url"]["url"] == url


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/missing.png", 400, "input_url_unreachable"),
        ("/inner", 400, "input_url_refused"),
        ("/page", 415, "unsupported_media_type"),
        ("/report.pdf", 415, "unsupported_media_type"),
        ("/large", 413, "payload_too_large"),
    ],
)
def test_what_cannot_be_used_is_the_clients_to_mend(
    client: Client, fake: FakeOpenAI, web: Web, path: str, status: int, code: str
) -> None:
    """An error names the part, blames no provider and tells nothing of what the server said; no call is made."""
    calls = len(fake.requests)
    error = client.generate("data/echo", user({"type": "image", "url": web.url(path)})).error
    assert (error["status"], error["code"], error["backend"]) == (status, code, None)
    assert error["pointer"] == "/input/0/content/1/url"
    assert "404" not in error["detail"]
    assert len(fake.requests) == calls


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2/", "http://169.254.169.254/", "http://10.0.0.1/", "http://[::1]/", "http://2130706433/"]
)
def test_what_is_not_allowed_is_refused(client: Client, url: str) -> None:
    """The operator's list opens what it names, and nothing beside it."""
    error = client.generate("data/echo", user({"type": "image", "url": url})).error
    assert (error["status"], error["code"]) == (400, "input_url_refused")


def test_nothing_is_fetched_for_a_target_that_takes_no_images(client: Client, web: Web) -> None:
    """Where nothing could come of it, the client learns so without a fetch."""
    error = client.generate("text/echo", user({"type": "image", "url": web.url("/a.png")})).error
    assert (error["code"], web.asked) == ("unsupported_modality", [])


def test_data_is_looked_at(client: Client, fake: FakeOpenAI) -> None:
    """A wrong type is put right and told; what is no base64, or no image, is refused."""
    answer = client.answer("urls/echo", user({"type": "image", "data": as_base64(PNG), "media_type": "image/jpeg"}))
    assert [(one["code"], one["parameter"]) for one in answer["warnings"]] == [
        ("media_type_corrected", "/input/0/content/1/media_type")
    ]
    assert sent(fake)[0]["image_url"]["url"].startswith("data:image/png;")
    for data, status in (("no base64", 400), (as_base64(PDF), 415), (as_base64(PNG + bytes(200_000)), 413)):
        error = client.generate("urls/echo", user({"type": "image", "data": data, "media_type": "image/png"})).error
        assert (error["status"], error["pointer"]) == (status, "/input/0/content/1/data")


def test_a_client_that_leaves_ends_the_fetch(client: Client, web: Web) -> None:
    """Nothing goes on for a client that has hung up."""
    body = {"model": "data/echo", "input": user({"type": "image", "url": web.url("/slow")})}
    left = web.left
    connection = client.begin("POST", "/v1/generations", body)
    eventually(lambda: web.waiting > left, 10, "the gateway asks for the URL")
    connection.close()
    eventually(lambda: web.left > left, 10, "the gateway gives the URL up")


def test_time_is_the_requests_own(client: Client, web: Web) -> None:
    """A URL that never answers holds a request no longer than it asked for."""
    given = user({"type": "image", "url": web.url("/slow")})
    error = client.generate("data/echo", given, timeouts={"total_s": 0.2}).error
    assert (error["status"], error["code"]) == (400, "input_url_unreachable")


def test_fetches_are_counted_and_logged_without_their_paths(gateway: Gateway, client: Client, web: Web) -> None:
    """The metrics tell how fetches ended, the log from which host; neither path nor query stands there."""
    client.answer("data/echo", user({"type": "image", "url": web.url("/a.png?token=very-secret")}))
    metrics = client.get("/metrics").body.decode()
    assert 'pluggably_input_fetches_total{outcome="fetched"}' in metrics
    eventually(lambda: "input_fetched" in gateway.logged(), 10, "a line in the log")
    assert "127.0.0.1" in gateway.logged()
    assert "very-secret" not in gateway.logged()
    assert "a.png" not in gateway.logged()
