"""Runs whose requests hold media: what each target gets, and what becomes of a URL that cannot be fetched."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import pytest
from msgspec import UNSET
from snapshots import NO_RETRY, dispatch_over, snapshot

from pluggably.domain.catalog import Foresight, RouteSpec, Target
from pluggably.domain.generation import (
    Completed,
    Event,
    GenerationRequest,
    Image,
    ItemCompleted,
    ItemStarted,
    MediaKind,
    Message,
    Text,
    TextParameters,
    Timeouts,
)
from pluggably.errors import (
    BackendError,
    InputUrlRefused,
    InputUrlUnreachable,
    PluggablyError,
    ShuttingDown,
    UnsupportedParameter,
)
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.dispatch import Dispatch, Run
from pluggably.gateway.snapshot import Snapshot
from pluggably.net.fetch import Fetched
from pluggably.net.http import Patience

T = TypeVar("T")

PNG = b"\x89PNG\r\n\x1a\n"
IMAGE = Image(url="https://web.test/a.png")
INLINE = Image(data=base64.b64encode(PNG).decode(), media_type="image/png")
WAIT_S = 10.0
ANSWER: Sequence[Event] = (ItemStarted(0, Text("")), ItemCompleted(0, Text("ok")), Completed("stop"))


class Taker:
    """A backend that takes URLs or not, refuses what it is told to, and then answers or fails."""

    credentials = 1

    def __init__(
        self,
        *urls: MediaKind,
        error: PluggablyError | None = None,
        refuses: Callable[[Image], PluggablyError | None] = lambda _: None,
    ) -> None:
        self.urls = urls
        self.asked: list[Image] = []
        self.patience: list[Patience] = []
        self._error = error
        self._refuses = refuses

    def takes_urls(self, target: Target) -> Collection[MediaKind]:
        return self.urls

    def foresee(self, request: GenerationRequest, target: Target) -> Foresight:
        [image] = images(request)
        if image.url is not UNSET and "image" not in self.urls:
            return Foresight(UnsupportedParameter("no URLs", pointer="/input/0/content/0"))
        return Foresight(self._refuses(image))

    async def generate(
        self, request: GenerationRequest, target: Target, patience: Patience, credential: int = 0
    ) -> AsyncGenerator[Sequence[Event], None]:
        self.asked += images(request)
        self.patience.append(patience)
        if self._error is not None:
            raise self._error
        yield ANSWER


def images(request: GenerationRequest) -> list[Image]:
    return [part for message in request.messages for part in message.content if isinstance(part, Image)]


class Web:
    def __init__(self, page: bytes | PluggablyError | asyncio.Event = PNG, takes_s: float = 0.0) -> None:
        self.page = page
        self.takes_s = takes_s
        self.asked = 0
        self.waiting = asyncio.Event()

    async def fetch(self, url: str, *, took: Callable[[int], None], **_: Any) -> Fetched:
        self.asked += 1
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        if isinstance(self.page, asyncio.Event):
            self.waiting.set()
            await self.page.wait()
        if isinstance(self.page, PluggablyError):
            raise self.page
        took(len(PNG))
        return Fetched(PNG, "image/png", "a.png")


class Gateway:
    """A route over some targets, tried in turn."""

    def __init__(self, web: Web, *targets: Taker) -> None:
        names = [f"p{i}" for i in range(len(targets))]
        route = RouteSpec(targets=tuple(f"{name}/m" for name in names))
        self.snapshot: Snapshot = snapshot(
            catalog=Catalog(dict.fromkeys(names, "remote"), {}, [], {"r": route}),
            backends=dict(zip(names, targets, strict=True)),
            rules=NO_RETRY,
            fetch=web.fetch,
        )
        self.dispatch: Dispatch = dispatch_over(self.snapshot)

    def start(self, **fields: Any) -> Run:
        asked = GenerationRequest(
            model="r", modality="text", messages=[Message("user", [IMAGE])], parameters=TextParameters(), **fields
        )
        return self.dispatch.start(asked, "req_1")


async def finish(run: Run) -> Run:
    async with aclosing(run.events()) as batches:
        async for _ in batches:
            pass
    return run


def run_async(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(WAIT_S):
            return await main()

    return asyncio.run(bounded())


def test_each_target_gets_the_form_that_it_takes() -> None:
    """A URL for the one that takes URLs, data for the others, fetched once."""

    async def main() -> None:
        web = Web()
        down = BackendError("down")
        targets = Taker("image", error=down), Taker(error=down), Taker(), Taker()
        gateway = Gateway(web, *targets)
        run = await finish(gateway.start())
        assert run.generation().status == "completed"
        assert [target.asked for target in targets] == [[IMAGE], [INLINE], [INLINE], []]
        assert web.asked == 1
        assert gateway.snapshot.inputs.held_bytes == 0

    run_async(main)


def test_a_url_is_no_reason_to_prefer_another_target() -> None:
    """A target that gets its images as data stands where the operator put it."""

    async def main() -> None:
        first, second = Taker(), Taker("image")
        await finish(Gateway(Web(), first, second).start())
        assert (first.asked, second.asked) == ([INLINE], [])

    run_async(main)


def test_nothing_is_fetched_for_a_target_that_refuses_it_anyway() -> None:
    """Where a target takes no images at all, that is said before any fetch."""

    async def main() -> None:
        web = Web()
        no = UnsupportedParameter("no images", pointer="/input/0/content/0")
        run = Gateway(web, Taker(refuses=lambda _: no)).start()
        with pytest.raises(UnsupportedParameter):
            await finish(run)
        assert web.asked == 0

    run_async(main)


def test_a_guess_about_the_type_refuses_nothing() -> None:
    """Until it has been fetched, what type a URL's content has is nobody's reason to refuse it."""

    async def main() -> None:
        web = Web()
        wrong = UnsupportedParameter("no PNG", pointer="/input/0/content/0/media_type")
        target = Taker(refuses=lambda image: wrong if image.data == "AAAA" else None)
        await finish(Gateway(web, target, Taker("image")).start())
        assert target.asked == [INLINE]

    run_async(main)


@pytest.mark.parametrize("error", [InputUrlUnreachable("gone"), InputUrlRefused("inner")])
def test_another_target_may_take_a_url_that_cannot_be_fetched(error: PluggablyError) -> None:
    """The gateway's failure to fetch is tried around, and the target that needed it is not to blame."""

    async def main() -> None:
        web, second = Web(error), Taker("image")
        gateway = Gateway(web, Taker(), Taker(), second)
        run = await finish(gateway.start())
        assert second.asked == [IMAGE]
        assert [one.code for one in run.generation().attempts] == [error.code] * 2
        assert web.asked == 1
        assert gateway.dispatch.health.is_well

    run_async(main)


def test_a_url_that_cannot_be_fetched_is_the_clients() -> None:
    """With no other target left the error is a 400 that names the part, and no backend."""

    async def main() -> None:
        gateway = Gateway(Web(InputUrlUnreachable("gone")), Taker())
        run = gateway.start()
        with pytest.raises(InputUrlUnreachable):
            await finish(run)
        problem = run.generation().error
        assert problem is not None
        assert (problem.status, problem.code) == (400, "input_url_unreachable")
        assert (problem.pointer, problem.backend) == ("/input/0/content/0/url", None)

    run_async(main)


def test_the_time_of_fetching_counts() -> None:
    """What fetching took is gone from the request's time."""

    async def main() -> None:
        target = Taker()
        await finish(Gateway(Web(takes_s=0.05), target).start(timeouts=Timeouts(total_s=5)))
        assert target.patience[0].total_s <= 4.95

    run_async(main)


def test_a_requests_time_ends_the_fetching() -> None:
    """A URL that does not answer holds a request no longer than the request's own limit."""

    async def main() -> None:
        gateway = Gateway(Web(asyncio.Event()), Taker())
        with pytest.raises(InputUrlUnreachable):
            await finish(gateway.start(timeouts=Timeouts(total_s=0.05)))
        with pytest.raises(InputUrlUnreachable):
            await finish(gateway.start(stream=True, timeouts=Timeouts(first_event_s=0.05)))

    run_async(main)


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_run_that_is_left_fetches_no_more(is_stopped: bool) -> None:
    """A client's leaving and a shutdown end a run that is still fetching."""

    async def main() -> None:
        web = Web(asyncio.Event())
        gateway = Gateway(web, Taker())
        run = gateway.start()
        task = asyncio.create_task(finish(run))
        await web.waiting.wait()
        if is_stopped:
            run.stop(ShuttingDown("over"))
        else:
            task.cancel()
        with pytest.raises(ShuttingDown if is_stopped else asyncio.CancelledError):
            await task
        assert run.generation().status == ("failed" if is_stopped else "cancelled")
        assert gateway.snapshot.inputs.held_bytes == 0
        assert not gateway.dispatch.running

    run_async(main)
