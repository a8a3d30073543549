"""What a model at a provider costs: what the operator or the provider's own list says, else the genai-prices package.

The package's list is loaded at first need and off the loop, since it is large. A price that is not known is null, never
zero. What surprises: the package's own calculation takes over 100 µs, so plain rates are kept and multiplied here; only
a price that depends on the amount (tiers) goes through the package each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import structlog
from msgspec import Struct

from pluggably.domain.catalog import Price, RemoteModel
from pluggably.domain.generation import Usage

log = structlog.get_logger()

MILLION = Decimal(1_000_000)
MAX_KEPT = 20_000
# A look-up takes up to a millisecond where a list is long.
MAX_LOADED_AT_ONCE = 5_000
_RATE_FIELDS = ("input_mtok", "cache_read_mtok", "output_mtok")


class Found(Struct, frozen=True):
    """What the package tells of a model: its rates in the package's own type, and the facts as we tell them."""

    rates: Any
    facts: RemoteModel


class Rates(Struct, frozen=True):
    """A price that was told to us, under the package's names."""

    input_mtok: Decimal | None
    cache_read_mtok: Decimal | None
    output_mtok: Decimal | None


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

    async def cost(self, price_list: str | None, model: str, usage: Usage, told: Price | None = None) -> Decimal | None:
        """US dollars, or None where the price or the usage is not known."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        if told is not None:
            return _cost(_rates(told), usage)
        found = await self._look_up(price_list, model) if price_list is not None else None
        return None if found is None else _cost(found.rates, usage)

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
    return Rates(*map(_amount, (price.input_per_million, price.cached_input_per_million, price.output_per_million)))


def _amount(text: str | None) -> Decimal | None:
    """What is no amount of money is not known."""
    try:
        amount = Decimal(text) if text is not None else None
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() and amount >= 0 else None


def _cost(price: Any, usage: Usage) -> Decimal | None:
    cached = usage.cached_input_tokens or 0
    fresh = (usage.input_tokens or 0) - cached
    output = usage.output_tokens or 0
    per_input, per_cached, per_output = (getattr(price, field, None) for field in _RATE_FIELDS)
    if per_cached is None:
        per_cached = per_input
    amounts = ((fresh, per_input), (cached, per_cached), (output, per_output))
    if any(count and rate is None for count, rate in amounts):
        return None
    if all(isinstance(rate, Decimal) for count, rate in amounts if count):
        return sum((count * rate for count, rate in amounts if rate), Decimal(0)) / MILLION
    from genai_prices import Usage as PricedUsage

    priced = PricedUsage(input_tokens=usage.input_tokens, cache_read_tokens=cached or None, output_tokens=output)
    return Decimal(price.calc_price(priced)["total_price"])


def decimal_text(amount: Decimal) -> str:
    """As the API tells money: plain digits, no exponent, no trailing zeros."""
    text = format(amount.normalize(), "f")
    return "0" if text in ("0", "-0") else text
