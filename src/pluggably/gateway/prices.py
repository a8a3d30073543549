"""What a model at a provider costs: what the operator or the provider's own list says, else the genai-prices package.

The package's list is loaded at first need and off the loop, since it is large. A price that is not known is null, never
zero. What surprises: the package's own calculation takes over 100 µs, so its rates are kept and multiplied here, and
where a rate depends on the amount (tiers), the whole input decides, as everywhere in the package.

Some tokens have rates of their own: those written into a cache, and audio. What the list says of them counts. Where it
is silent they cost what others of their kind do, but for two kinds of writes, of which nothing else could say more:
those beside a told price, which has no rate for them, and those for an hour where there is a rate for minutes alone.
These cost what is documented by those who charge for writes, so that no cost is told too low: 1.25 and 2 times the
input.

Source: platform.claude.com/docs/en/build-with-claude/prompt-caching, "Pricing"; ai.google.dev/gemini-api/docs/pricing
(2026-11).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import structlog
from msgspec import Struct

from pluggably.domain.catalog import Price, RemoteModel
from pluggably.domain.generation import Breakdown, Usage

log = structlog.get_logger()

MILLION = Decimal(1_000_000)
MAX_KEPT = 20_000
# A look-up takes up to a millisecond where a list is long.
MAX_LOADED_AT_ONCE = 5_000
_RATE_FIELDS = ("input_mtok", "cache_read_mtok", "output_mtok")
# A write into a cache, for minutes and for an hour, in rates of the input.
_WRITE, _WRITE_1H = Decimal("1.25"), Decimal(2)


class Found(Struct, frozen=True):
    """What the package tells of a model: its rates in the package's own type, and the facts as we tell them."""

    rates: Any
    facts: RemoteModel


class Rates(Struct, frozen=True):
    """A price that was told to us, under the package's names."""

    input_mtok: Decimal | None
    cache_read_mtok: Decimal | None
    output_mtok: Decimal | None
    cache_write_mtok: Decimal | None


class Prices:
    """Looks prices up by the price list's provider id and the model's id there.

    `told` is what stands over the package: the operator's price, else that of the provider's own list."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Found | None] = {}

    async def price(self, price_list: str | None, model: str, told: Price | None = None) -> Price | None:
        """What a model costs, to compare and to show; where the rate depends on the amount, that of a short input."""
        if told is not None or price_list is None:
            return told
        found = await self._look_up(price_list, model)
        return None if found is None else found.facts.price

    async def cost(
        self,
        price_list: str | None,
        model: str,
        usage: Usage,
        told: Price | None = None,
        breakdown: Breakdown | None = None,
    ) -> Decimal | None:
        """US dollars, or None where the price or the usage is not known."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        if told is not None:
            return _cost(_rates(told), usage, breakdown)
        found = await self._look_up(price_list, model) if price_list is not None else None
        return None if found is None else _cost(found.rates, usage, breakdown)

    def published(self, price_list: str) -> Published:
        """One provider's part of the package's list."""
        return Published(price_list, self._found)

    async def _look_up(self, price_list: str, model: str) -> Found | None:
        key = (price_list, model)
        if key not in self._found:
            found = await asyncio.to_thread(_find, price_list, model)
            _keep(self._found, {key: found})
            return found
        return self._found[key]


class Published:
    """What the package tells of one provider's models."""

    def __init__(self, price_list: str, found: dict[tuple[str, str], Found | None]) -> None:
        self._price_list = price_list
        self._found = found

    def loaded(self, model: str) -> RemoteModel | None:
        """From memory only: None also where nobody has looked yet."""
        found = self._found.get((self._price_list, model))
        return None if found is None else found.facts

    async def load(self, models: Iterable[str]) -> None:
        """Looks all of these up, off the loop."""
        keys = [(self._price_list, model) for model in models]
        missing = [key for key in keys if key not in self._found][:MAX_LOADED_AT_ONCE]
        if missing:
            _keep(self._found, await asyncio.to_thread(_find_all, missing))


def _keep(kept: dict[tuple[str, str], Found | None], new: dict[tuple[str, str], Found | None]) -> None:
    """Clients name the models, so there may be any number."""
    if len(kept) + len(new) > MAX_KEPT:
        kept.clear()
    kept.update(new)


def _find_all(keys: list[tuple[str, str]]) -> dict[tuple[str, str], Found | None]:
    return {key: _find(*key) for key in keys}


def _find(price_list: str, model: str) -> Found | None:
    """What the package knows of a model now."""
    from genai_prices import data_snapshot

    try:
        _, found = data_snapshot.get_snapshot().find_provider_model(model, None, price_list, None)
        rates = found.get_prices(datetime.now(UTC))
    except LookupError:
        return None
    context = found.context_window
    facts = RemoteModel(id=model, name=found.name, price=_price(rates), context_tokens=context if context else None)
    return Found(rates, facts)


def _price(rates: Any) -> Price | None:
    """The rates of a short input, where they depend on the amount."""
    given, cached, made = (_base(getattr(rates, field, None)) for field in _RATE_FIELDS)
    if given is None and made is None:
        return None
    return Price(input_per_million=given, cached_input_per_million=cached, output_per_million=made)


def _base(rate: Any) -> str | None:
    plain = getattr(rate, "base", rate)
    return decimal_text(plain) if isinstance(plain, Decimal) else None


def _rates(price: Price) -> Rates:
    given, cached, made = map(
        _amount, (price.input_per_million, price.cached_input_per_million, price.output_per_million)
    )
    return Rates(given, cached, made, given * _WRITE if given is not None else None)


def _amount(text: str | None) -> Decimal | None:
    """What is no amount of money is not known."""
    try:
        amount = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() and amount >= 0 else None


def _cost(rates: Any, usage: Usage, breakdown: Breakdown | None) -> Decimal | None:
    sent, cached = usage.input_tokens or 0, usage.cached_input_tokens or 0
    per_input, per_cached, per_output = (_rate(rates, field, sent) for field in _RATE_FIELDS)
    if per_cached is None:
        per_cached = per_input
    amounts = [(sent - cached, per_input), (cached, per_cached), (usage.output_tokens or 0, per_output)]
    if any(count and rate is None for count, rate in amounts):
        return None
    if breakdown is not None:
        amounts += _apart(rates, sent, breakdown, per_input, per_cached, per_output)
    return sum((count * rate for count, rate in amounts if rate), Decimal(0)) / MILLION


def _apart(
    rates: Any,
    sent: int,
    breakdown: Breakdown,
    per_input: Decimal | None,
    per_cached: Decimal | None,
    per_output: Decimal | None,
) -> Iterator[tuple[int, Decimal]]:
    """What tokens with rates of their own cost above those of their kind, or below."""
    write, hour, audio, cached_audio, speech = (
        _rate(rates, field, sent)
        for field in (
            "cache_write_mtok",
            "cache_write_1h_mtok",
            "input_audio_mtok",
            "cache_audio_read_mtok",
            "output_audio_mtok",
        )
    )
    if hour is None and write is not None and per_input is not None:
        hour = max(write, per_input * _WRITE_1H)
    for count, own, usual in (
        (breakdown.cache_write_tokens - breakdown.cache_write_1h_tokens, write, per_input),
        (breakdown.cache_write_1h_tokens, hour, per_input),
        (breakdown.audio_input_tokens - breakdown.cached_audio_tokens, audio, per_input),
        (breakdown.cached_audio_tokens, audio if cached_audio is None else cached_audio, per_cached),
        (breakdown.audio_output_tokens, speech, per_output),
    ):
        if count and own is not None and usual is not None:
            yield count, own - usual


def _rate(rates: Any, field: str, sent: int) -> Decimal | None:
    """A rate for an input of this size."""
    rate = getattr(rates, field, None)
    if rate is None or isinstance(rate, Decimal):
        return rate
    # Of the tiers, which are in order, the last one that the input is over counts for all of it.
    return next((Decimal(tier.price) for tier in reversed(rate.tiers) if sent > tier.start), Decimal(rate.base))


def decimal_text(amount: Decimal) -> str:
    """As the API tells money: plain digits, no exponent, no trailing zeros."""
    text = format(amount.normalize(), "f")
    return "0" if text in ("0", "-0") else text
