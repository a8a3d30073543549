"""What is known of a provider's models: what stands over what, when a list is fetched, and what happens when it fails.

The provider is a script behind the HTTP client's interface, the clock a number.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from structlog.testing import capture_logs

from pluggably.domain.catalog import FREE, Capabilities, Price, RemoteModel
from pluggably.errors import BackendAuthenticationFailed, BackendUnreachable
from pluggably.gateway.prices import Prices
from pluggably.net.http import HttpClient
from pluggably.providers.list_forms import FORMS
from pluggably.providers.listing import Listing, ListSource, list_url
from pluggably.providers.presets import PRESETS

T = TypeVar("T")

URL = "https://provider.example/v1/models"
TWO = json.dumps({"data": [{"id": "b", "context_length": 1000}, {"id": "a"}]}).encode()


class Given:
    """An answer of the script."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._body = body
        self.closed = False

    async def read(self, limit_bytes: int) -> bytes:
        assert len(self._body) <= limit_bytes
        return self._body

    def close(self) -> None:
        self.closed = True


class Provider:
    """Answers every request with what `answers` makes of its number; waits before it for as long as `held` says."""

    def __init__(self, answers: Callable[[int], Given] = lambda _: Given(200, TWO)) -> None:
        self.urls: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.answers = answers
        self.held = asyncio.Event()
        self.held.set()

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, patience: Any) -> Given:
        assert (method, body) == ("GET", b"")
        self.urls.append(url)
        self.headers.append(headers)
        await self.held.wait()
        return self.answers(len(self.urls))


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class PriceList:
    """A published list of prices; `loaded` knows what was asked for before."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self.asked: list[str] = []

    def loaded(self, model: str) -> RemoteModel | None:
        if model not in self.asked or model not in self._prices:
            return None
        return RemoteModel(id=model, price=self._prices[model], context_tokens=7)

    async def load(self, models: Iterable[str]) -> None:
        self.asked.extend(models)


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


def listing(provider: Provider, clock: Clock | None = None, **given: Any) -> Listing:
    given.setdefault("sources", [ListSource(given.pop("url", URL), given.pop("form", "openai"))])
    return Listing(provider="p", http=cast(HttpClient, provider), clock=clock or Clock(), **given)


async def settled(one: Listing) -> None:
    """Until nothing runs behind the listing."""
    while one._task is not None:
        await asyncio.wait({one._task})
        await asyncio.sleep(0)


def body(*entries: dict[str, Any]) -> Callable[[int], Given]:
    return lambda _: Given(200, json.dumps({"data": entries}).encode())


# ── what stands over what ───────────────────────────────────────────────────────────────────────────────────────────


def told(provider_says: dict[str, Any], **given: Any) -> RemoteModel:
    """The one model of a list, `m` unless it says otherwise, after one fetch."""

    async def main() -> RemoteModel:
        one = listing(Provider(body({"id": "m", **provider_says})), **given)
        (found,) = await one.models()
        assert found == one.known(found.id)
        return found

    return run(main())


def rates(given: str | None = None, made: str | None = None) -> Price:
    return Price(input_per_million=given, output_per_million=made)


PRICED = {"pricing": {"prompt": "0.000001", "completion": "0.000002"}}


def test_the_operator_stands_over_the_list() -> None:
    """Of each fact the operator's word counts where there is one, and the provider's where there is none."""
    facts = {
        "m": RemoteModel(
            id="m", name="Mine", price=rates("9"), context_tokens=5, capabilities=Capabilities(tools=False)
        )
    }
    says = {
        **PRICED,
        "context_length": 100,
        "max_completion_tokens": 50,
        "supported_parameters": ["tools", "reasoning"],
    }
    assert told(says, form="openrouter", facts=facts) == RemoteModel(
        id="m",
        name="Mine",
        price=rates("9"),
        free=False,
        context_tokens=5,
        max_output_tokens=50,
        capabilities=Capabilities(tools=False, json_schema=False, reasoning=True),
    )


def test_the_list_stands_over_the_published_prices() -> None:
    """A published price is looked up only for a model whose list tells none; its other facts fill what is open."""
    published = PriceList({"m": rates("5", "6")})
    assert told(PRICED, form="openrouter", published=published).price == rates("1", "2")
    assert published.asked == []
    found = told({}, form="openrouter", published=published)
    assert (found.price, found.context_tokens) == (rates("5", "6"), 7)


def test_what_is_documented_fills_the_rest() -> None:
    """The table of the vendor's documentation comes last."""

    async def main() -> RemoteModel | None:
        return listing(Provider(), vendor="openai", url=None).known("gpt-5")

    found = run(main())
    assert found is not None
    assert found.capabilities == Capabilities(tools=True, json_schema=True, reasoning=True)


def test_a_bare_id_of_openai() -> None:
    """Of a model whose list tells its id alone, the package tells price and context, and the table the rest."""
    gpt = told({"id": "gpt-4o"}, vendor="openai", published=Prices().published("openai"))
    assert gpt == RemoteModel(
        id="gpt-4o",
        name=gpt.name,
        price=Price(input_per_million="2.5", cached_input_per_million="1.25", output_per_million="10"),
        free=False,
        context_tokens=128_000,
        input_modalities=("text", "image"),
        output_modalities=("text",),
        capabilities=Capabilities(tools=True, json_schema=True, reasoning=False),
    )


def test_nothing_is_known_of_a_stranger() -> None:
    """A model that nobody named and no list has is None, not an empty answer."""

    async def main() -> None:
        one = listing(Provider())
        assert one.known("x") is None
        await one.models()
        assert one.known("x") is None
        assert one.known("b") == RemoteModel(id="b", context_tokens=1000)

    run(main())


def test_a_stranger_is_known_as_soon_as_anything_is() -> None:
    """What is known of a model in no list follows the published prices and the list as they come."""

    async def main() -> None:
        published = PriceList({"x": rates("5", "6"), "new": rates("1", "1")})
        clock = Clock()
        provider = Provider()
        one = listing(provider, clock, published=published)
        assert one.known("x") is None
        await published.load(["x"])
        found = one.known("x")
        assert found is not None
        assert found.price == rates("5", "6")
        assert one.known("new") is None
        provider.answers = body({"id": "new"})
        await one.models()
        found = one.known("new")
        assert found is not None
        assert found.price == rates("1", "1")

    run(main())


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (rates("0", "0"), True), (rates("0.000", "0"), True), (rates("0", "1"), False), (rates("1", "0"), False),
        (rates("1"), False), (rates(None, "2"), False), (rates("0"), None), (rates(), None), (None, None),
        (rates("dear", "0"), None),
    ],
)  # fmt: skip
def test_free_by_its_price(price: Price | None, expected: bool | None) -> None:
    """Free is what costs nothing either way; a rate above zero is not free; half a price says nothing of the rest."""
    published = PriceList({"m": price} if price is not None else {})
    assert told({}, published=published).free is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"free": True}, True),
        ({"free": False}, False),
        ({"free": True, "facts": {"m": RemoteModel(id="m", free=False)}}, False),
        ({"free": False, "facts": {"m": RemoteModel(id="m", free=True)}}, True),
        ({"free_models": "m$"}, True),
        ({"free_models": ":free$"}, False),
        ({"free_models": "m", "free": False}, False),
        ({"facts": {"m": RemoteModel(id="m", price=rates("0", "0"))}}, True),
    ],
)
def test_free_by_somebodys_word(given: dict[str, Any], expected: bool) -> None:
    """The operator's word of a model stands over that of the provider, that over the preset's, and all over a price."""
    assert told(PRICED, form="openrouter", **given).free is expected


def test_what_is_free_costs_nothing() -> None:
    """Where somebody's word makes a model free, its price is zero, unless the operator gives one."""
    assert told(PRICED, form="openrouter", free=True).price == FREE
    mine = {"m": RemoteModel(id="m", price=rates("3", "4"))}
    assert told(PRICED, form="openrouter", free=True, facts=mine).price == rates("3", "4")


def test_a_price_that_varies_is_shown_but_makes_no_cost() -> None:
    """The rates of a short input are shown; a cost must come from elsewhere, or from nowhere."""

    async def main() -> None:
        varying = {"pricing": {"prompt": "0.000001", "completion": "0.000002", "overrides": [{}]}}
        one = listing(Provider(body({"id": "m", **varying}, {"id": "n", **PRICED})), form="openrouter")
        await one.models()
        known = one.known("m")
        assert known is not None
        assert known.price == rates("1", "2")
        assert one.told_price("m") is None
        assert one.told_price("n") == rates("1", "2")
        assert one.told_price("x") is None

    run(main())


def test_the_operators_models_are_always_there() -> None:
    """A model that the operator named is shown though no list has it, in the order of the ids."""

    async def main() -> None:
        facts = {"aa": RemoteModel(id="aa", context_tokens=1)}
        assert [one.id for one in await listing(Provider(), facts=facts).models()] == ["a", "aa", "b"]
        assert [one.id for one in await listing(Provider(), facts=facts, sources=()).models()] == ["aa"]

    run(main())


# ── when a list is fetched ──────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_fetched_before_somebody_asks() -> None:
    """Making a listing and asking what is known of a model sends nothing."""

    async def main() -> None:
        provider = Provider()
        one = listing(provider)
        one.known("a")
        one.told_price("a")
        await asyncio.sleep(0)
        assert provider.urls == []
        assert one.doubt("a") is None

    run(main())


def test_a_list_is_fetched_once_within_its_lifetime() -> None:
    """A fresh list is served from memory; from its lifetime on the old one is served at once and a new one fetched."""

    async def main() -> None:
        provider, clock = Provider(), Clock()
        one = listing(provider, clock, lifetime_s=100)
        await one.models()
        clock.now += 99
        await one.models()
        assert len(provider.urls) == 1
        clock.now += 1
        provider.answers = body({"id": "new"})
        assert [found.id for found in await one.models()] == ["a", "b"]
        await settled(one)
        assert [found.id for found in await one.models()] == ["new"]
        assert one.known("a") is None
        assert len(provider.urls) == 2

    run(main())


def test_a_clock_that_was_set_back_makes_a_list_old() -> None:
    """A list from the future is fetched again, lest it stay for years."""

    async def main() -> None:
        provider, clock = Provider(), Clock()
        one = listing(provider, clock)
        await one.models()
        clock.now -= 1_000_000
        await one.models()
        await settled(one)
        assert len(provider.urls) == 2

    run(main())


def test_one_fetch_for_all_who_ask() -> None:
    """Fifty at once are one request, and each gets the list."""

    async def main() -> None:
        provider = Provider()
        provider.held.clear()
        one = listing(provider)
        asking = [asyncio.create_task(one.models()) for _ in range(50)]
        while not provider.urls:
            await asyncio.sleep(0)
        provider.held.set()
        assert all(len(found) == 2 for found in await asyncio.gather(*asking))
        assert len(provider.urls) == 1

    run(main())


def test_a_slow_list_is_not_awaited_for_long() -> None:
    """Who asks for a list that does not come gets none, and the list arrives behind; who gives up ends nothing."""

    async def main() -> None:
        provider = Provider()
        provider.held.clear()
        one = listing(provider, wait_s=0.0)
        assert await one.models() == []
        assert one.detail == "The provider's list of models has not come yet."
        waiting = asyncio.create_task(listing(provider, wait_s=60).models())
        while len(provider.urls) < 2:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        provider.held.set()
        await settled(one)
        assert len(await one.models()) == 2
        assert (one.detail, len(provider.urls)) == (None, 2)

    run(main())


def test_a_slow_list_is_awaited_once() -> None:
    """Who asks again for a list that has not come in time is answered at once: a reader of pages waits for the first
    page alone."""

    async def main() -> None:
        provider = Provider()
        provider.held.clear()
        one = listing(provider, wait_s=0.05)
        began = asyncio.get_running_loop().time()
        for _ in range(1000):  # each with its own wait, they would take fifty seconds
            assert await one.models() == []
        assert asyncio.get_running_loop().time() - began < 25
        await one.close()

    run(main())


def test_refresh_waits_for_nothing() -> None:
    """A route that needs prices begins a fetch and goes on."""

    async def main() -> None:
        provider = Provider()
        one = listing(provider)
        one.refresh()
        one.refresh()
        assert provider.urls == []
        await settled(one)
        assert len(provider.urls) == 1
        assert one.known("b") == RemoteModel(id="b", context_tokens=1000)

    run(main())


def test_a_closed_listing_fetches_no_more() -> None:
    """Closing ends the fetch that runs, and none begins after it."""

    async def main() -> None:
        provider = Provider()
        provider.held.clear()
        one = listing(provider)
        one.refresh()
        while not provider.urls:
            await asyncio.sleep(0)
        await one.close()
        one.refresh()
        assert one._task is None
        assert await one.models() == []
        await one.close()

    run(main())


# ── failures ────────────────────────────────────────────────────────────────────────────────────────────────────────


def failing(error: Given | Exception) -> Callable[[int], Given]:
    def answer(_: int) -> Given:
        if isinstance(error, Exception):
            raise error
        return error

    return answer


def test_what_speaks_against_a_model() -> None:
    """That its provider's list lacks it, or could not be had; not that nobody has asked, or that the operator knows
    better."""

    async def main() -> None:
        one = listing(Provider(), facts={"mine": RemoteModel(id="mine")})
        assert one.doubt("a") is None
        await one.models()
        assert (one.doubt("a"), one.doubt("mine")) == (None, None)
        assert one.doubt("c") == "The list of p does not have this model. It is asked for it all the same."
        unreadable = listing(Provider(failing(Given(401, b""))))
        await unreadable.models()
        assert "refused its credential" in (unreadable.doubt("a") or "")

    run(main())


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (Given(500, b"secret words"), "answered 500"),
        (Given(301, b""), "answered 301"),
        (Given(401, b"sk-secret"), "refused its credential"),
        (Given(200, b"<html>"), "not JSON"),
        (Given(200, b"{}"), "no list of models"),
        (Given(200, b'{"data": [{}]}'), "No entry"),
        (BackendUnreachable("No connection to the backend."), "No connection"),
        (ZeroDivisionError("inner"), "could not be read"),
    ],
)
def test_a_failure_keeps_the_last_good_list(error: Given | Exception, detail: str) -> None:
    """What was known stays known; why it is not newer is told, without what the provider sent."""

    async def main() -> None:
        provider, clock = Provider(), Clock()
        one = listing(provider, clock, lifetime_s=100)
        before = await one.models()
        clock.now += 100
        provider.answers = failing(error)
        await one.models()
        await settled(one)
        assert one.detail is not None
        assert detail in one.detail
        assert "secret" not in one.detail
        assert await one.models() == before
        assert one.known("b") is not None

    run(main())


def test_a_provider_that_fails_is_left_alone_for_a_while() -> None:
    """Within the pause after a failure nobody asks again, and nobody waits; then one does, and success is told."""

    async def main() -> None:
        provider, clock = Provider(failing(Given(503, b""))), Clock()
        one = listing(provider, clock, retry_s=60)
        with capture_logs() as logs:
            for _ in range(3):
                assert await one.models() == []
            clock.now += 59
            await one.models()
            assert len(provider.urls) == 1
            clock.now += 1
            await one.models()
            assert len(provider.urls) == 2
            provider.answers = body({"id": "back"})
            clock.now += 60
            assert [found.id for found in await one.models()] == ["back"]
        assert one.detail is None
        events = [(entry["event"], entry["log_level"]) for entry in logs]
        assert events == [("model_list_failed", "warning"), ("model_list_recovered", "info")]

    run(main())


def test_the_next_credential_is_tried_where_one_is_refused() -> None:
    """401 and 403 are of the credential; any other failure is of the provider, and ends the fetch."""

    async def main(first: int) -> tuple[list[str], str | None]:
        provider = Provider(lambda number: Given(first, b"") if number == 1 else Given(200, TWO))
        one = listing(provider, headers=[{"Authorization": "1"}, {"Authorization": "2"}])
        await one.models()
        return [headers["Authorization"] for headers in provider.headers], one.detail

    assert run(main(401)) == (["1", "2"], None)
    assert run(main(403)) == (["1", "2"], None)
    assert run(main(500)) == (["1"], "The provider's list of models answered 500.")


class Seal:
    """Signs with its name; without one it has no credential."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        if not self.name:
            raise BackendAuthenticationFailed("p: there is no profile.")
        return {**headers, "Authorization": f"{self.name} {method} {url} {body!r}"}


def test_each_page_is_signed_as_it_is_asked_for() -> None:
    """A signature is over the address with its query, so each page has its own."""

    async def main() -> None:
        pages = [b'{"models": [{"name": "a"}], "next_page_token": "2"}', b'{"models": [{"name": "b"}]}']
        provider = Provider(lambda number: Given(200, pages[number - 1]))
        one = listing(provider, form="cohere", signers=[Seal("s")])
        assert [found.id for found in await one.models()] == ["a", "b"]
        signatures = [headers["Authorization"] for headers in provider.headers]
        assert signatures == [f"s GET {URL} b''", f"s GET {URL}?page_token=2 b''"]
        assert {headers["Accept"] for headers in provider.headers} == {"application/json"}

    run(main())


def test_a_signer_without_a_credential_is_as_one_that_is_refused() -> None:
    """The next one is tried; where none has a credential, what the signer says is told, and nobody is asked."""

    async def main(*names: str) -> tuple[list[str], str | None, int]:
        provider = Provider()
        one = listing(provider, headers=[{}] * len(names), signers=[Seal(name) for name in names])
        return [found.id for found in await one.models()], one.detail, len(provider.urls)

    assert run(main("", "s")) == (["a", "b"], None, 1)
    assert run(main("", "")) == ([], "p: there is no profile.", 0)


# ── several lists ───────────────────────────────────────────────────────────────────────────────────────────────────

BOTH = [ListSource("https://provider.example/a"), ListSource("https://provider.example/b")]


def listed(*ids: str) -> Given:
    return Given(200, json.dumps({"data": [{"id": one} for one in ids]}).encode())


def test_several_lists_are_one() -> None:
    """What two of them tell is the first one's."""

    async def main() -> None:
        provider = Provider(lambda number: listed("x", "y") if number == 1 else listed("y", "z"))
        one = listing(provider, sources=BOTH)
        assert [found.id for found in await one.models()] == ["x", "y", "z"]
        assert (provider.urls, one.detail) == ([source.url for source in BOTH], None)

    run(main())


def test_a_list_that_the_credential_may_not_read_is_left_out() -> None:
    """It is told by its address, once, until all can be read; a list that fails in another way keeps all as it was."""

    async def main() -> None:
        clock, second = Clock(), [Given(403, b""), Given(403, b""), Given(500, b""), listed("y")]
        provider = Provider(lambda number: listed("x") if number % 2 else second.pop(0))
        one = listing(provider, clock, sources=BOTH)
        with capture_logs() as logs:
            for ids, detail in (
                (["x"], "The provider refused its credential for the list of models at /b (403)."),
                (["x"], "The provider refused its credential for the list of models at /b (403)."),
                (["x"], "The provider's list of models answered 500."),
                (["x", "y"], None),
            ):
                await one.models()
                await settled(one)
                assert ([found.id for found in await one.models()], one.detail) == (ids, detail)
                clock.now += 4000
        events = [(entry["event"], entry["log_level"]) for entry in logs]
        assert events == [
            ("model_list_incomplete", "warning"),
            ("model_list_failed", "warning"),
            ("model_list_recovered", "info"),
        ]

    run(main())


def test_lists_that_are_all_refused_are_no_list() -> None:
    """As with one list."""

    async def main() -> None:
        one = listing(Provider(lambda _: Given(403, b"")), sources=BOTH)
        assert await one.models() == []
        assert one.detail == "The provider refused its credential for the list of models at /a (403)."

    run(main())


def test_every_answer_is_closed() -> None:
    """A connection is given back however its answer was."""

    async def main() -> None:
        for given in (Given(200, TWO), Given(404, b""), Given(401, b""), Given(200, b"no")):
            await listing(Provider(failing(given))).models()
            assert given.closed

    run(main())


# ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def paged(pages: Sequence[dict[str, Any]]) -> Callable[[int], Given]:
    return lambda number: Given(200, json.dumps(pages[min(number, len(pages)) - 1]).encode())


def test_pages_are_followed() -> None:
    """The next page is asked for with the cursor in the place of the last one, and the query that was there stays."""

    async def main() -> None:
        pages: list[dict[str, Any]] = [
            {"models": [{"name": "models/a"}], "nextPageToken": "x y"},
            {"models": [{"name": "models/b"}], "nextPageToken": "z"},
            {"models": [{"name": "models/c"}]},
        ]
        provider = Provider(paged(pages))
        one = listing(provider, form="google", url=URL + "?pageSize=1000")
        assert [found.id for found in await one.models()] == ["a", "b", "c"]
        assert provider.urls == [
            URL + rest for rest in ("?pageSize=1000", "?pageSize=1000&pageToken=x+y", "?pageSize=1000&pageToken=z")
        ]

    run(main())


def test_a_page_that_fails_fails_the_list() -> None:
    """Half a list is not put in the place of a whole one."""

    async def main() -> None:
        first = json.dumps({"models": [{"name": "models/a"}], "nextPageToken": "x"}).encode()
        provider = Provider(lambda number: Given(200, first) if number == 1 else Given(500, b""))
        one = listing(provider, form="google")
        assert await one.models() == []
        assert one.detail == "The provider's list of models answered 500."

    run(main())


def test_pages_without_an_end_have_one() -> None:
    """A cursor that comes again ends the list, and so does the greatest number of pages."""

    async def main() -> None:
        same = {"models": [{"name": "models/a"}], "nextPageToken": "x"}
        provider = Provider(paged([same]))
        assert len(await listing(provider, form="google").models()) == 1
        assert len(provider.urls) == 2

        def next_one(number: int) -> Given:
            return Given(200, json.dumps({"models": [{"name": f"m{number}"}], "nextPageToken": str(number)}).encode())

        provider = Provider(next_one)
        assert len(await listing(provider, form="google").models()) == 50

    run(main())


# ── what is kept over a restart ─────────────────────────────────────────────────────────────────────────────────────


async def after_a_restart(kept: Path, act: Callable[[Listing, Provider], Awaitable[T]], **given: Any) -> T:
    clock = Clock()
    await listing(Provider(), clock, kept=kept).models()
    clock.now += given.pop("later_s", 10)
    provider = Provider(failing(Given(500, b"")))
    one = listing(provider, clock, kept=kept, **given)
    result = await act(one, provider)
    await one.close()
    return result


def test_a_restart_knows_what_was_known(tmp_path: Path) -> None:
    """The kept list is served, also while it is fresh enough to fetch nothing."""

    async def act(one: Listing, provider: Provider) -> None:
        assert one.known("b") is None
        await one.recall()
        assert one.known("b") == RemoteModel(id="b", context_tokens=1000)
        assert [found.id for found in await one.models()] == ["a", "b"]
        assert provider.urls == []

    run(after_a_restart(tmp_path / "cache" / "p.json", act))


def test_a_kept_list_is_its_owners_alone(tmp_path: Path) -> None:
    """And is written into no file that somebody has put in its way."""
    folder, other = tmp_path / "cache", tmp_path / "precious"
    other.write_text("precious")
    folder.mkdir(0o700)
    (folder / ".p.json.new").symlink_to(other)
    before = os.umask(0)
    try:

        async def act(one: Listing, provider: Provider) -> None:
            assert [found.id for found in await one.models()] == ["a", "b"]

        run(after_a_restart(folder / "p.json", act))
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "p.json").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["p.json"]
    assert other.read_text() == "precious"


def test_a_kept_list_grows_old_too(tmp_path: Path) -> None:
    """An old kept list is served at once while a new one is fetched behind it."""

    async def act(one: Listing, provider: Provider) -> None:
        assert [found.id for found in await one.models()] == ["a", "b"]
        await settled(one)
        assert len(provider.urls) == 1
        assert one.detail is not None

    run(after_a_restart(tmp_path / "p.json", act, later_s=4000))


@pytest.mark.parametrize("change", [{"url": URL + "2"}, {"form": "openrouter"}])
def test_a_kept_list_of_another_address_is_not_taken(tmp_path: Path, change: dict[str, Any]) -> None:
    """Where the config now means another list, the kept one says nothing."""

    async def act(one: Listing, provider: Provider) -> None:
        assert await one.models() == []
        assert len(provider.urls) == 1

    run(after_a_restart(tmp_path / "p.json", act, **change))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b'{"version": 1}', b'{"version":2,"source":"","fetched_at":1,"models":[]}']
)
def test_a_damaged_kept_list_is_as_none(tmp_path: Path, content: bytes) -> None:
    """A file that cannot be read is fetched anew, and replaced."""

    async def main() -> None:
        kept = tmp_path / "p.json"
        kept.write_bytes(content)
        assert len(await listing(Provider(), kept=kept).models()) == 2
        assert kept.read_bytes() != content
        assert [path.name for path in tmp_path.iterdir()] == ["p.json"]

    run(main())


def test_a_list_that_cannot_be_kept_is_served_all_the_same(tmp_path: Path) -> None:
    """A full or read-only disk costs nothing but the next restart's head start."""

    async def main() -> None:
        (tmp_path / "file").write_bytes(b"")
        one = listing(Provider(), kept=tmp_path / "file" / "p.json")
        with capture_logs() as logs:
            assert len(await one.models()) == 2
            await settled(one)
        assert [entry["event"] for entry in logs] == ["model_list_not_kept"]
        assert one.detail is None

    run(main())


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/models", "", "https://x.example/v1/models"),
        ("/models?verbose=true", "", "https://x.example/v1/models?verbose=true"),
        ("/models", "api-version=2026-01-01", "https://x.example/v1/models?api-version=2026-01-01"),
        ("/models?a=1", "b=2", "https://x.example/v1/models?a=1&b=2"),
        ("../api/v0/models", "", "https://x.example/api/v0/models"),
        ("https://y.example/list", "", "https://y.example/list"),
    ],
)
def test_where_a_list_is(path: str, query: str, expected: str) -> None:
    """A path follows the base URL, or goes up from it; a whole URL stands for itself; the query goes with all."""
    assert list_url("https://x.example/v1/", path, query) == expected


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_presets_list_can_be_read(name: str) -> None:
    """The form that a preset names exists, and its expression over free models is one."""
    models, free = PRESETS[name].models, PRESETS[name].free_models
    assert models is None or all(one.form in FORMS for one in models.all())
    assert free is None or re.compile(free)


def test_a_form_that_does_not_exist_is_refused() -> None:
    """A wrong row of the presets fails when the listing is made, not when somebody asks."""

    async def main() -> None:
        with pytest.raises(KeyError):
            listing(Provider(), form="carrier-pigeon")

    run(main())
