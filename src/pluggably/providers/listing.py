"""What is known of one provider's models: its own list, fetched when somebody asks, and what stands over and under it.

Facts come from four places, the first that tells one counts: the operator (the config's `models` of a provider), the
provider's own list (`list_forms`), the genai-prices package, and what vendors document (`known_models`).

What surprises: nothing is fetched at the start, and no generation ever waits for a list. Who asks for the models gets
the last list that could be read, at once; where it is old a new one is fetched behind it, once for all who ask. A list
that cannot be fetched changes nothing but `detail`. Where a vendor has several lists they are one here; of these, one
that the credential may not read is left out, and `detail` tells of it. The last good list is kept in a file, so that a
restart knows what was known; that file is a convenience and may be deleted at any time.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import msgspec
import structlog
from msgspec import Struct

from pluggably.domain.catalog import FREE, Capabilities, Price, RemoteModel
from pluggably.errors import (
    BackendAuthenticationFailed,
    BackendError,
    BackendInvalidResponse,
    BackendRejected,
)
from pluggably.net.http import HttpClient, Patience
from pluggably.providers import known_models, list_forms
from pluggably.providers.list_forms import Listed, Page
from pluggably.wire.endpoint import Signer

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_BYTES = 8 * 1024 * 1024
MAX_PAGES = 50
MAX_GUESSED = 1000
FETCH_S = 30.0
LIFETIME_S = 3600.0
RETRY_S = 60.0
WAIT_S = 5.0
KEPT_VERSION = 1

# A provider whose entry has changed has two listings for a while, and they write the same file.
_WRITING = threading.Lock()
_ACCEPT = {"Accept": "application/json"}


class Published(Protocol):
    """A published list of this provider's prices."""

    def loaded(self, model: str) -> RemoteModel | None:
        """From memory only."""
        ...

    async def load(self, models: Iterable[str]) -> None:
        """Looks these up, off the loop."""
        ...


class ListSource(Struct, frozen=True):
    """A list: where it is, and in which form."""

    url: str
    form: str = "openai"


class Kept(Struct, frozen=True, kw_only=True):
    """The file of the last good list. `source` tells whether it is still that of these addresses and forms."""

    version: int
    source: str
    fetched_at: float
    models: list[Listed]


class Listing:
    """One provider's models. To be closed before the HTTP client that it was given."""

    def __init__(
        self,
        *,
        provider: str,
        sources: Sequence[ListSource],
        http: HttpClient,
        headers: Sequence[Mapping[str, str]] = ({},),
        signers: Sequence[Signer | None] = (),
        facts: Mapping[str, RemoteModel] | None = None,
        free: bool | None = None,
        free_models: str | None = None,
        published: Published | None = None,
        vendor: str | None = None,
        kept: Path | None = None,
        lifetime_s: float = LIFETIME_S,
        retry_s: float = RETRY_S,
        wait_s: float = WAIT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without `sources` there is no list to fetch. `headers` are those of each credential, and each of `signers`
        signs its calls, or is None; `facts` and `free` are the operator's words; `free_models` a regular expression
        over ids that never cost anything, searched; `vendor` the preset's name. Raises: KeyError for a form that does
        not exist."""
        for source in sources:
            if source.form not in list_forms.FORMS:
                raise KeyError(source.form)
        self._provider = provider
        self._sources = sources
        self._http = http
        self._credentials = list(zip(headers, signers or [None] * len(headers), strict=True))
        self._facts = facts or {}
        self._free = free
        self._free_models = re.compile(free_models) if free_models is not None else None
        self._published = published
        self._vendor = vendor
        self._kept = kept
        self._lifetime_s = lifetime_s
        self._retry_s = retry_s
        self._wait_s = wait_s
        self._clock = clock
        self._source = hashlib.sha256("\n".join(f"{one.url} {one.form}" for one in sources).encode()).hexdigest()
        self._told: dict[str, Listed] = {}
        self._merged: dict[str, RemoteModel] = {}
        self._guessed: dict[str, tuple[RemoteModel | None, RemoteModel | None]] = {}
        self._shown: list[RemoteModel] | None = None
        self._fetched_at: float | None = None
        self._failed_at: float | None = None
        self._detail: str | None = None
        self._recalled = kept is None or not sources
        self._recalling = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._awaited_until = 0.0
        self._closed = False

    @property
    def detail(self) -> str | None:
        """Why there is no list, or no new one, fit to be shown; None while all is well."""
        if self._detail is None and self._fetched_at is None and self._task is not None:
            return "The provider's list of models has not come yet."
        return self._detail

    def known(self, model: str) -> RemoteModel | None:
        """What is known now of a model, by the provider's own id, also of one that is in no list. No I/O."""
        found = self._merged.get(model)
        if found is not None:
            return found
        # In no list: put together once, and again when the published price has been looked up meanwhile.
        published = self._published.loaded(model) if self._published is not None else None
        guess = self._guessed.get(model)
        if guess is None or guess[0] is not published:
            if len(self._guessed) >= MAX_GUESSED:  # clients name the models
                self._guessed.clear()
            guess = self._guessed[model] = (published, self._merge(model))
        return guess[1]

    def told_price(self, model: str) -> Price | None:
        """The price by which a cost may be computed: the operator's, else the provider's own."""
        said = self.operators_price(model)
        listed = self._told.get(model)
        if said is not None or listed is None or listed.rates_vary:
            return said
        return listed.model.price

    def doubt(self, model: str) -> str | None:
        """Why a model may not be there, in words to be shown. Of a list that is older than a restart, and of one that
        never came because nobody asked, nothing is said."""
        if self._fetched_at is None:
            return self._detail
        if not self._told or model in self._told or model in self._facts:
            return None
        return f"The list of {self._provider} does not have this model. It is asked for it all the same."

    async def models(self) -> list[RemoteModel]:
        """All models that the list has or the operator named, by id. Waits for a list only where there is none yet,
        and not long after it was asked for: who reads page after page does not wait at each. A provider's failure is
        told by `detail`, and leaves what was known."""
        await self.recall()
        self.refresh()
        if self._fetched_at is None and self._task is not None:
            await asyncio.wait({self._task}, timeout=max(0.0, self._awaited_until - asyncio.get_running_loop().time()))
        while self._shown is None:
            await self._show()
        return list(self._shown)

    def refresh(self) -> None:
        """Begins to fetch the list, where it is old and nobody does yet; returns at once."""
        if self._task is None and self._is_due():
            loop = asyncio.get_running_loop()
            self._awaited_until = loop.time() + self._wait_s
            self._task = loop.create_task(self._renew(), name=f"models of {self._provider}")
            self._task.add_done_callback(self._renewed)

    async def recall(self) -> None:
        """Reads the last good list of an earlier run, once. No network."""
        async with self._recalling:
            if self._recalled or self._kept is None:
                return
            kept = await asyncio.to_thread(_read_kept, self._kept, self._source)
            if kept is not None and self._fetched_at is None:
                self._told = {listed.model.id: listed for listed in kept.models}
                self._fetched_at = kept.fetched_at
                self._guessed.clear()
            self._recalled = True

    async def close(self) -> None:
        self._closed = True
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    # ── fetching ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _is_due(self) -> bool:
        if not self._sources or self._closed:
            return False
        now = self._clock()
        # A clock that was set back counts as time gone by.
        if self._failed_at is not None and 0 <= now - self._failed_at < self._retry_s:
            return False
        return self._fetched_at is None or not 0 <= now - self._fetched_at < self._lifetime_s

    def _renewed(self, _: asyncio.Task[None]) -> None:
        self._task = None

    async def _renew(self) -> None:
        await self.recall()
        if not self._is_due():
            return
        try:
            async with asyncio.timeout(FETCH_S):
                listed, lost, refused = await self._fetch()
        except BackendError as error:
            self._failed(error.detail)
        except TimeoutError:
            self._failed(f"The provider's list of models did not come within {FETCH_S:g} s.")
        except Exception:
            # Nobody awaits this task, so it is told here, or never.
            log.exception("model_list_broken", provider=self._provider)
            self._failed("The provider's list of models could not be read.")
        else:
            await self._accept(listed, lost, refused)

    async def _fetch(self) -> tuple[dict[str, Listed], int, str | None]:
        """What all lists tell, how many entries are lost, and what is to be told of a list that was refused. A list
        that fails in any other way fails all, so that nothing it told before is forgotten. Raises: BackendError."""
        listed: dict[str, Listed] = {}
        lost, refused = 0, list[BackendAuthenticationFailed]()
        for source in self._sources:
            try:
                found, missed = await self._fetch_one(source)
            except BackendAuthenticationFailed as refusal:
                refused.append(refusal)
                continue
            for model, one in found.items():
                listed.setdefault(model, one)
            lost += missed
        if len(refused) == len(self._sources):
            raise refused[0]
        if lost and not listed:
            raise BackendInvalidResponse("No entry of the provider's list of models could be read.")
        return list_forms.joined(listed), lost, refused[0].detail if refused else None

    async def _fetch_one(self, source: ListSource) -> tuple[dict[str, Listed], int]:
        """The whole of one list, with the first credential that is not refused. Raises: BackendError."""
        refusal = BackendAuthenticationFailed("There is no credential to ask for the provider's list of models with.")
        for headers, signer in self._credentials:
            try:
                return await self._fetch_with(source, headers, signer)
            except BackendAuthenticationFailed as error:
                refusal = error
        raise refusal

    async def _fetch_with(
        self, source: ListSource, headers: Mapping[str, str], signer: Signer | None
    ) -> tuple[dict[str, Listed], int]:
        listed: dict[str, Listed] = {}
        left, lost, asked, more = MAX_BYTES, 0, list[dict[str, str]](), dict[str, str]()
        while len(asked) < MAX_PAGES and len(listed) < list_forms.MAX_MODELS:
            asked.append(more)
            body = await self._get(_with_query(source.url, more), headers, signer, left)
            left -= len(body)
            page: Page = await asyncio.to_thread(list_forms.read, source.form, body)
            lost += page.lost
            for one in page.models[: list_forms.MAX_MODELS - len(listed)]:
                listed.setdefault(one.model.id, one)
            more = page.next
            if not more or more in asked:
                break
        return listed, lost

    async def _get(self, url: str, headers: Mapping[str, str], signer: Signer | None, limit_bytes: int) -> bytes:
        sent: Mapping[str, str] = {**_ACCEPT, **headers}
        if signer is not None:
            sent = await signer.sign("GET", url, sent, b"")
        answer = await self._http.send("GET", url, sent, b"", Patience(FETCH_S, FETCH_S, FETCH_S))
        try:
            status = answer.status
            if status in (401, 403):
                # Where there are several, which one: each may need a permission of its own.
                which = f" at {urlsplit(url).path}" if len(self._sources) > 1 else ""
                raise BackendAuthenticationFailed(
                    f"The provider refused its credential for the list of models{which} ({status}).",
                    backend_status=status,
                )
            if status != 200:
                raise BackendRejected(f"The provider's list of models answered {status}.", backend_status=status)
            return await answer.read(limit_bytes)
        finally:
            answer.close()

    async def _accept(self, listed: dict[str, Listed], lost: int, refused: str | None) -> None:
        """`refused` tells of a list that was left out."""
        if refused is not None and refused != self._detail:
            log.warning("model_list_incomplete", provider=self._provider, detail=refused, models=len(listed))
        elif refused is None and self._detail is not None:
            log.info("model_list_recovered", provider=self._provider, models=len(listed))
        if lost:
            log.debug("model_list_entries_lost", provider=self._provider, lost=lost, models=len(listed))
        self._told, self._fetched_at, self._failed_at, self._detail = listed, self._clock(), None, refused
        await self._show()
        if self._kept is not None:
            kept = Kept(
                version=KEPT_VERSION, source=self._source, fetched_at=self._fetched_at, models=list(listed.values())
            )
            try:
                await asyncio.to_thread(_write_kept, self._kept, kept)
            except OSError as error:
                log.warning("model_list_not_kept", provider=self._provider, detail=error.strerror)

    def _failed(self, detail: str) -> None:
        """Told once, until it is another failure or none."""
        if detail != self._detail:
            log.warning(
                "model_list_failed", provider=self._provider, detail=detail, last_good=self._fetched_at is not None
            )
        self._failed_at, self._detail = self._clock(), detail

    # ── merging ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _show(self) -> None:
        """Makes anew what is shown, with the published prices of those models whose own list tells none."""
        told = self._told
        ids = sorted({*told, *self._facts})
        if self._published is not None:
            await self._published.load([model for model in ids if model not in told or told[model].model.price is None])
        merged = await asyncio.to_thread(self._merge_all, ids)
        if told is self._told:
            self._merged, self._shown = merged, list(merged.values())
            self._guessed.clear()

    def _merge_all(self, ids: Iterable[str]) -> dict[str, RemoteModel]:
        return {model: self._merge(model) or RemoteModel(id=model) for model in ids}

    def _merge(self, model: str) -> RemoteModel | None:
        said, listed = self._facts.get(model), self._told.get(model)
        published = self._published.loaded(model) if self._published is not None else None
        documented = known_models.known(self._vendor, model)
        given = (said, listed.model if listed is not None else None, published, documented)
        sources = [one for one in given if one is not None]
        price = _first([self.operators_price(model), *(one.price for one in sources)])
        free = self._is_free(model, price)
        if not sources and free is None:
            return None
        abilities = [one.capabilities for one in sources]
        return RemoteModel(
            id=model,
            name=_first(one.name for one in sources),
            price=price,
            free=free,
            context_tokens=_first(one.context_tokens for one in sources),
            max_output_tokens=_first(one.max_output_tokens for one in sources),
            input_modalities=_first(one.input_modalities for one in sources),
            output_modalities=_first(one.output_modalities for one in sources),
            capabilities=Capabilities(
                streaming=_first(one.streaming for one in abilities),
                tools=_first(one.tools for one in abilities),
                json_schema=_first(one.json_schema for one in abilities),
                reasoning=_first(one.reasoning for one in abilities),
            ),
        )

    def _said_free(self, model: str) -> bool | None:
        """What the operator, else the preset says: nothing where they leave it to the price."""
        said = self._facts.get(model)
        if said is not None and said.free is not None:
            return said.free
        if self._free is not None:
            return self._free
        return True if self._free_models is not None and self._free_models.search(model) else None

    def operators_price(self, model: str) -> Price | None:
        """The price that the operator set, or nothing at all where they say that it is free."""
        said = self._facts.get(model)
        if said is not None and said.price is not None:
            return said.price
        return FREE if self._said_free(model) else None

    def _is_free(self, model: str, price: Price | None) -> bool | None:
        said = self._said_free(model)
        if said is not None or price is None:
            return said
        rates = [_amount(rate) for rate in (price.input_per_million, price.output_per_million)]
        if any(rates):
            return False
        return True if all(rate is not None for rate in rates) else None


def list_url(base_url: str, path: str, query: str = "") -> str:
    """The address of a list: `path` behind the base URL (`../` goes up from it), or itself where it is a whole URL."""
    base = base_url.rstrip("/")
    url = base + path if path.startswith("/") else urljoin(base + "/", path)
    return _with_query(url, dict(parse_qsl(query, keep_blank_values=True)))


def _with_query(url: str, more: Mapping[str, str]) -> str:
    """The URL with these parameters, in the place of those of the same name."""
    if not more:
        return url
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit(parts._replace(query=urlencode({**given, **more})))


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _amount(rate: str | None) -> Decimal | None:
    try:
        return Decimal(rate) if rate is not None else None
    except InvalidOperation:
        return None


def _read_kept(path: Path, source: str) -> Kept | None:
    """The kept list, or None where there is none that still fits."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return kept if kept.version == KEPT_VERSION and kept.source == source else None


def _write_kept(path: Path, kept: Kept) -> None:
    """Whole or not at all, for its owner alone. Raises: OSError."""
    new = path.with_name(f".{path.name}.new")
    with _WRITING:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)  # what a crash has left, or somebody else's link
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(kept))
            new.replace(path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise
