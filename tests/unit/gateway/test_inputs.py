"""The media of requests on their way to a target, with a fetch that the test answers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec import UNSET
from structlog.testing import capture_logs

from pluggably.domain.generation import (
    Audio,
    File,
    GenerationRequest,
    Image,
    Media,
    MediaKind,
    Message,
    Text,
    TextParameters,
    ToolResult,
)
from pluggably.errors import (
    InputUrlRefused,
    InputUrlUnreachable,
    InvalidRequest,
    Overloaded,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from pluggably.gateway.inputs import CHECKED_AT_ONCE, ENCODED_AT_ONCE, InputLimits, Inputs, RequestMedia
from pluggably.net.fetch import Fetched
from pluggably.telemetry.metrics import Metrics

T = TypeVar("T")

PNG = b"\x89PNG\r\n\x1a\n and so on"
JPEG = b"\xff\xd8\xff\xe0 and so on"
PDF = b"%PDF-1.7 and so on"
MP3 = b"ID3\x04 and so on"
URLS: tuple[MediaKind, ...] = ("image", "file", "audio")
WAIT_S = 10.0


def as_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Web:
    """Content by URL. An exception is raised, and an event waited for."""

    def __init__(self, **pages: Any) -> None:
        self.pages = {f"https://web.test/{name.replace('_', '.')}": page for name, page in pages.items()}
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.cancelled = 0
        self.limits: list[tuple[int, float]] = []

    async def fetch(self, url: str, *, limit_bytes: int, timeout_s: float, took: Callable[[int], None]) -> Fetched:
        self.asked.append(url)
        self.limits.append((limit_bytes, timeout_s))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        page = self.pages[url]
        try:
            if isinstance(page, asyncio.Event):
                await page.wait()
                page = PNG
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        if isinstance(page, Exception):
            raise page
        took(len(page))
        return Fetched(page, "application/octet-stream", url.rpartition("/")[2])


def request(*parts: Any, more: Any = ()) -> GenerationRequest:
    return GenerationRequest(
        model="m",
        modality="text",
        messages=[Message("system", "be kind"), Message("user", list(parts)), *more],
        parameters=TextParameters(),
    )


def image(name: str) -> Image:
    return Image(url=f"https://web.test/{name}")


class Bench:
    """One gateway's inputs, and what was counted of them."""

    def __init__(self, web: Web | None = None, **limits: Any) -> None:
        self.web = web or Web()
        self.metrics = Metrics()
        self.inputs = Inputs(self.web.fetch, InputLimits(**limits), self.metrics)

    def of(self, asked: GenerationRequest) -> RequestMedia:
        media = self.inputs.of(asked, "req_1")
        assert media is not None
        return media

    def counted(self, outcome: str) -> float:
        labels = {"outcome": outcome}
        return self.metrics.registry.get_sample_value("pluggably_input_fetches_total", labels) or 0.0


async def brought(media: RequestMedia, urls: Collection[MediaKind] = (), within_s: float = WAIT_S) -> list[Media]:
    """The media of the request as a target that takes `urls` gets it."""
    got, _ = await media.brought(urls, within_s)
    return parts_of(got)


def parts_of(got: GenerationRequest) -> list[Media]:
    found: list[Media] = []
    for message in got.messages:
        for part in message.content:
            inner = part.content if isinstance(part, ToolResult) else [part]
            found += [one for one in inner if isinstance(one, Image | File | Audio)]
    return found


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(WAIT_S):
            return await main()

    return asyncio.run(bounded())


# ── by URL ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_without_media_has_nothing_to_bring() -> None:
    """Text alone costs nothing."""
    bench = Bench()
    assert bench.inputs.of(request(Text("hi")), "req_1") is None
    assert bench.inputs.of(request(ToolResult("c", "text")), "req_1") is None


def test_a_url_is_handed_on_where_the_target_takes_it() -> None:
    """Nothing is fetched for a target that takes URLs of this kind, and the request is the very same."""

    async def main() -> None:
        bench = Bench()
        asked = request(image("a.png"), File(url="https://web.test/a.pdf"), Audio(url="https://web.test/a.mp3"))
        media = bench.of(asked)
        assert not media.needs_fetching(URLS)
        got, warned = await media.brought(URLS, WAIT_S)
        assert got is asked
        assert (list(warned), bench.web.asked) == ([], [])

    run(main)


def test_a_url_becomes_data_where_the_target_takes_none() -> None:
    """What was fetched stands in the part's place with its own type, inside a tool's result too; the request as it
    came is left as it was."""

    async def main() -> None:
        web = Web(a_png=PNG, a_pdf=PDF, a_mp3=MP3, b_jpg=JPEG)
        bench = Bench(web)
        asked = request(
            Text("see"),
            Image(url="https://web.test/a.png", provider_options={"x": {"detail": "high"}}),
            File(url="https://web.test/a.pdf"),
            File(url="https://web.test/a.pdf", name="mine.pdf"),
            Audio(url="https://web.test/a.mp3"),
            more=[Message("tool", [ToolResult("c1", "no parts"), ToolResult("c2", [Text("t"), image("b.jpg")])])],
        )
        before = msgspec.json.encode(asked)
        media = bench.of(asked)
        assert media.needs_fetching(())
        got, warned = await media.brought((), WAIT_S)
        assert parts_of(got) == [
            Image(data=as_base64(PNG), media_type="image/png", provider_options={"x": {"detail": "high"}}),
            File(data=as_base64(PDF), media_type="application/pdf", name="a.pdf"),
            File(data=as_base64(PDF), media_type="application/pdf", name="mine.pdf"),
            Audio(data=as_base64(MP3), media_type="audio/mpeg"),
            Image(data=as_base64(JPEG), media_type="image/jpeg"),
        ]
        assert list(warned) == []
        assert msgspec.json.encode(asked) == before
        assert bench.counted("fetched") == 4

    run(main)


def test_large_content_comes_whole() -> None:
    """What is put into base64 in pieces is the same as if it were done at once."""

    async def main() -> None:
        for size in (ENCODED_AT_ONCE - 1, ENCODED_AT_ONCE, 2 * ENCODED_AT_ONCE + 1):
            large = PNG + bytes(size - len(PNG))
            [got] = await brought(Bench(Web(a_png=large)).of(request(image("a.png"))))
            assert got.data == as_base64(large)

    run(main)


def test_only_what_a_target_does_not_take_is_fetched() -> None:
    """A target that takes images by URL and files as data gets each so."""

    async def main() -> None:
        bench = Bench(Web(a_pdf=PDF))
        media = bench.of(request(image("a.png"), File(url="https://web.test/a.pdf")))
        got = await brought(media, ["image"])
        assert got[0].url == "https://web.test/a.png"
        assert (got[1].url, got[1].media_type) == (UNSET, "application/pdf")

    run(main)


def test_each_url_is_fetched_once_a_generation() -> None:
    """Neither a second part with the same URL nor a second target fetches it again."""

    async def main() -> None:
        bench = Bench(Web(a_png=PNG, b_png=PNG))
        media = bench.of(request(image("a.png"), image("a.png"), image("b.png")))
        first = await brought(media)
        assert await brought(media, URLS) != first
        assert not media.needs_fetching(())
        assert await brought(media) == first
        assert sorted(bench.web.asked) == ["https://web.test/a.png", "https://web.test/b.png"]

    run(main)


def test_a_failure_is_not_tried_again() -> None:
    """What could not be fetched for one target is not asked for again for the next."""

    async def main() -> None:
        bench = Bench(Web(a_png=InputUrlUnreachable("gone")))
        media = bench.of(request(Text("see"), image("a.png")))
        for _ in range(2):
            with pytest.raises(InputUrlUnreachable) as failed:
                await media.brought((), WAIT_S)
            assert failed.value.pointer == "/input/1/content/1/url"
        assert len(bench.web.asked) == 1
        assert bench.counted("input_url_unreachable") == 1

    run(main)


def test_the_part_that_failed_is_named_and_the_others_are_left() -> None:
    """The first failure ends what is still under way, and says which part it was."""

    async def main() -> None:
        never = asyncio.Event()
        bench = Bench(Web(slow_png=never, bad_png=InputUrlRefused("no"), good_png=PNG))
        media = bench.of(request(image("slow.png"), image("good.png"), image("bad.png")))
        with pytest.raises(InputUrlRefused) as failed:
            await media.brought((), WAIT_S)
        assert failed.value.pointer == "/input/1/content/2/url"
        assert bench.web.cancelled == 1
        assert bench.counted("cancelled") == 1

    run(main)


def test_several_are_fetched_at_once_but_not_all() -> None:
    """Four at a time."""

    async def main() -> None:
        web = Web(**{f"p{i}_png": PNG for i in range(20)})
        await brought(Bench(web).of(request(*(image(f"p{i}.png") for i in range(20)))))
        assert (len(web.asked), web.most_at_once) == (20, 4)

    run(main)


def test_a_request_has_so_many_urls_and_no_more() -> None:
    """Too many are refused before the first is fetched."""

    async def main() -> None:
        bench = Bench()
        with pytest.raises(InvalidRequest, match="at most 64"):
            await bench.of(request(*(image(f"p{i}.png") for i in range(65)))).brought((), WAIT_S)
        assert bench.web.asked == []
        same = [image("a.png")] * 65
        assert len(await brought(Bench(Web(a_png=PNG)).of(request(*same)))) == 65

    run(main)


def test_the_requests_own_time_bounds_the_fetching() -> None:
    """What has not come in the time that is left is late, and its fetch is ended."""

    async def main() -> None:
        bench = Bench(Web(slow_png=asyncio.Event(), good_png=PNG), fetch_s=3)
        media = bench.of(request(image("good.png"), image("slow.png")))
        with pytest.raises(InputUrlUnreachable, match=r"0\.02 s") as failed:
            await media.brought((), 0.02)
        assert failed.value.pointer == "/input/1/content/1/url"
        assert bench.web.cancelled == 1
        assert bench.web.limits[0][1] == 3

    run(main)


def test_leaving_ends_the_fetches() -> None:
    """Nothing goes on for a client that has left."""

    async def main() -> None:
        bench = Bench(Web(slow_png=asyncio.Event()))
        task = asyncio.create_task(bench.of(request(image("slow.png"))).brought((), WAIT_S))
        while not bench.web.at_once:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.web.cancelled == 1

    run(main)


def test_all_that_is_fetched_for_a_request_has_a_limit() -> None:
    """A request cannot have more fetched by naming more URLs."""

    async def main() -> None:
        bench = Bench(Web(a_png=PNG, b_png=PNG, c_png=PNG), part_bytes=1000, total_bytes=2 * len(PNG))
        assert len(await brought(bench.of(request(image("a.png"), image("b.png"))))) == 2
        with pytest.raises(PayloadTooLarge, match="URLs of this request"):
            await brought(bench.of(request(image("a.png"), image("b.png"), image("c.png"))))
        assert bench.web.limits[0][0] == 1000

    run(main)


def test_what_all_requests_hold_has_a_limit_and_is_given_back() -> None:
    """The gateway takes no more content than it has room for, until a generation has ended."""

    async def main() -> None:
        bench = Bench(Web(a_png=PNG), held_bytes=len(PNG))
        first, second, third = (bench.of(request(image("a.png"))) for _ in range(3))
        await brought(first)
        with pytest.raises(Overloaded):
            await brought(second)
        second.close()
        first.close()
        first.close()
        assert bench.inputs.held_bytes == 0
        await brought(third)

    run(main)


@pytest.mark.parametrize(
    "part",
    [image("page.html"), image("a.pdf"), Audio(url="https://web.test/a.png"), File(url="https://web.test/binary")],
)
def test_content_that_does_not_fit_its_part_is_refused(part: Media) -> None:
    """A page where an image should be, an image where audio should be, and what nobody knows: 415, at that part."""

    async def main() -> None:
        web = Web(page_html=b"<!doctype html>", a_pdf=PDF, a_png=PNG, binary=b"\x01\x02\x00")
        with pytest.raises(UnsupportedMediaType) as failed:
            await brought(Bench(web).of(request(part)))
        assert failed.value.pointer == "/input/1/content/0/url"

    run(main)


def test_the_log_tells_the_host_and_no_more() -> None:
    """Neither path nor query, neither user nor password of a URL is logged."""

    async def main() -> None:
        web = Web(a_png=PNG)
        url = "https://user:pw@web.test/secret/path?token=secret#secret"
        web.pages[url] = PNG
        with capture_logs() as lines:
            await brought(Bench(web).of(request(Image(url=url))))
        [line] = [line for line in lines if line["event"] == "input_fetched"]
        assert line["host"] == "web.test"
        assert (line["outcome"], line["bytes"], line["request_id"]) == ("fetched", len(PNG), "req_1")
        assert "secret" not in str(line)
        assert "pw" not in str(line)

    run(main)


# ── as data ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_data_that_is_what_it_says_is_left_as_it_is() -> None:
    """Right data passes, also what the gateway knows no format of."""

    async def main() -> None:
        asked = request(
            Image(data=as_base64(PNG), media_type="image/png"),
            Image(data=as_base64(JPEG), media_type="image/jpeg"),
            File(data=as_base64(b"some text"), media_type="text/x-own"),
            File(data=as_base64(b"PK\x03\x04"), media_type="application/epub+zip"),
            Audio(data=as_base64(b"\0\1\2\3"), media_type="audio/l16"),
            Audio(data=as_base64(MP3), media_type="audio/mp3"),
        )
        got, warned = await Bench().of(asked).brought((), WAIT_S)
        assert got is asked
        assert list(warned) == []

    run(main)


def test_a_type_is_sent_in_its_usual_form() -> None:
    """Letters in upper case, parameters and names that vendors do not know change no meaning, so nothing is told."""

    async def main() -> None:
        asked = request(
            Image(data=as_base64(JPEG), media_type="image/jpg"),
            Image(data=as_base64(PNG), media_type="IMAGE/PNG; charset=binary"),
            File(data=as_base64(b"some text"), media_type="Text/Plain ;charset=utf-8"),
            Audio(data=as_base64(b"RIFF\x10\0\0\0WAVEfmt "), media_type="audio/x-wav"),
        )
        got, warned = await Bench().of(asked).brought((), WAIT_S)
        assert [part.media_type for part in parts_of(got)] == ["image/jpeg", "image/png", "text/plain", "audio/wav"]
        assert list(warned) == []

    run(main)


def test_a_wrong_type_is_corrected_and_told() -> None:
    """A JPEG that is called a PNG is sent as what it is, with a warning that names the part."""

    async def main() -> None:
        asked = request(
            Image(data=as_base64(JPEG), media_type="image/png"),
            more=[Message("tool", [ToolResult("c", [Image(data=as_base64(PNG), media_type="image/gif")])])],
        )
        media = Bench().of(asked)
        for _ in range(2):  # the second target is told no more than the first
            got, warned = await media.brought((), WAIT_S)
            assert [part.media_type for part in parts_of(got)] == ["image/jpeg", "image/png"]
            assert [(one.warning.code, one.warning.parameter) for one in warned] == [
                ("media_type_corrected", "/input/1/content/0/media_type"),
                ("media_type_corrected", "/input/2/content/0/content/0/media_type"),
            ]

    run(main)


def test_a_correction_and_a_fetch_go_together() -> None:
    """A request with data that is called wrongly and with a URL gets both put right."""

    async def main() -> None:
        asked = request(Image(data=as_base64(JPEG), media_type="image/png"), image("a.png"))
        got = await brought(Bench(Web(a_png=PNG)).of(asked))
        assert [part.media_type for part in got] == ["image/jpeg", "image/png"]

    run(main)


@pytest.mark.parametrize(
    ("part", "error", "pointer"),
    [
        (Image(data=as_base64(PDF), media_type="image/png"), UnsupportedMediaType, "/data"),
        (Audio(data=as_base64(PNG), media_type="audio/wav"), UnsupportedMediaType, "/data"),
        (Image(data="not base64!", media_type="image/png"), InvalidRequest, "/data"),
        (Image(data="iVBORw0KGgo", media_type="image/png"), InvalidRequest, "/data"),
        (Image(data="iVBORw0K\nGgo=", media_type="image/png"), InvalidRequest, "/data"),
        (Image(data="_-__", media_type="image/png"), InvalidRequest, "/data"),
        (Image(data="iVBORw0KGgo=AAAA", media_type="image/png"), InvalidRequest, "/data"),
        (Image(data="ü===", media_type="image/png"), InvalidRequest, "/data"),
        (Image(data="", media_type="image/png"), InvalidRequest, "/data"),
        (Image(data="A" * 2000, media_type="image/png"), PayloadTooLarge, "/data"),
    ],
)
def test_wrong_data_is_refused_at_its_place(part: Media, error: type[Exception], pointer: str) -> None:
    """What is no base64, nothing, too much, or another kind of thing is refused before any call."""

    async def main() -> None:
        with pytest.raises(error) as failed:
            await brought(Bench(part_bytes=1024).of(request(Text("see"), part)))
        assert failed.value.pointer == f"/input/1/content/1{pointer}"  # type: ignore[attr-defined]
        assert part.data is UNSET or not part.data or part.data not in str(failed.value)

    run(main)


@pytest.mark.parametrize("where", [CHECKED_AT_ONCE - 1, CHECKED_AT_ONCE, 2 * CHECKED_AT_ONCE + 2])
def test_long_data_is_checked_to_its_end(where: int) -> None:
    """A wrong letter far into long data is found, wherever the pieces of the check begin and end."""

    async def main() -> None:
        good = as_base64(PNG + bytes(2 * CHECKED_AT_ONCE))
        await brought(Bench().of(request(Image(data=good, media_type="image/png"))))
        for wrong in ("=", "!", "\n"):
            bad = good[:where] + wrong + good[where + 1 :]
            with pytest.raises(InvalidRequest):
                await brought(Bench().of(request(Image(data=bad, media_type="image/png"))))

    run(main)


# ── beforehand ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_not_fetched_yet_has_a_stand_in() -> None:
    """A target is asked about a request with data in place of URLs, of the type that the URL's name suggests."""
    inputs = Bench().inputs
    asked = request(
        image("a.png"),
        image("a.JPG?size=x.gif"),
        image("a"),
        File(url="https://web.test/a.csv"),
        Audio(url="https://web.test/a"),
        Image(data=as_base64(PNG), media_type="image/png"),
    )
    parts = parts_of(inputs.foreseen(asked, ()))
    assert [part.media_type for part in parts] == [
        "image/png",
        "image/jpeg",
        "image/png",
        "text/csv",
        "audio/wav",
        "image/png",
    ]
    assert all(part.url is UNSET and part.data for part in parts)
    assert inputs.foreseen(asked, URLS) is asked
