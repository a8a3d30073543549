"""What a generation at a provider cost, from the price list of the genai-prices package.

The list is loaded at first need and off the loop, since it is large. A price that is not known is null, never zero.
What surprises: the package's own calculation takes over 100 µs, so plain rates are kept and multiplied here; only a
price that depends on the amount (tiers) goes through the package each time.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import structlog

from pluggably.domain.catalog import Price
from pluggably.domain.generation import Usage

log = structlog.get_logger()

MILLION = Decimal(1_000_000)
_RATE_FIELDS = ("input_mtok", "cache_read_mtok", "output_mtok")


class Prices:
    """Looks prices up by the price list's provider id and the model's id there."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Any] = {}

    async def cost(self, provider: str | None, model: str, usage: Usage, told: Price | None = None) -> Decimal | None:
        """US dollars, or None where the price or the usage is not known."""
        del told
        if provider is None or usage.input_tokens is None or usage.output_tokens is None:
            return None
        key = (provider, model)
        if key not in self._found:
            if len(self._found) > 10_000:
                self._found.clear()
            self._found[key] = await asyncio.to_thread(_find, provider, model)
        price = self._found[key]
        return None if price is None else _cost(price, usage)


def _find(provider: str, model: str) -> Any:
    """The package's price of a model now, or None."""
    from genai_prices import data_snapshot

    try:
        _, found = data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)
        return found.get_prices(datetime.now(UTC))
    except LookupError:
        return None


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
