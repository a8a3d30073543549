"""Prices as vendors' lists of models tell them, each in its vendor's own unit: in dollars a million tokens. No I/O.

What surprises: a price that cannot be what it seems is none. A negative one is a vendor's way to say so, a zero means
"free" at one vendor and "not sold by the token" at another, and one far above the dearest model means that the unit is
not the documented one.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from msgspec import Struct

from pluggably.domain.catalog import Price

# The dearest model asks 600 dollars a million tokens; far above that, a list means another unit than it documents.
MAX_RATE = Decimal(10_000)
MIN_RATE = Decimal("1e-9")

Entry: TypeAlias = dict[str, Any]


class Quote(Struct, frozen=True):
    """A price as a list tells it."""

    price: Price | None = None
    rates_vary: bool = False


A_TOKEN = Decimal(1_000_000)
A_MILLION = Decimal(1)


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if (isinstance(value, int) and abs(value) >= 2**63) or (isinstance(value, str) and len(value) > 40):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _rate(value: Any, factor: Decimal) -> str | None:
    """Dollars a million tokens. A negative price is a vendor's way to say that there is none."""
    number = _number(value)
    # By its magnitude first: "1e-999999" as plain digits would fill the memory.
    if number is None or not -30 < number.adjusted() < 30:
        return None
    rate = number * factor
    if rate == 0:
        return "0"
    return format(rate.normalize(), "f") if MIN_RATE <= rate <= MAX_RATE else None


def quoted(entry: Any, names: tuple[str, str, str], factor: Decimal, rates_vary: bool = False) -> Quote:
    """The price of an object with these names for input, cached input and output."""
    given, cached, made = (_rate(entry.get(name), factor) for name in names) if isinstance(entry, dict) else (None,) * 3
    if given is None and made is None:
        return Quote()
    price = Price(input_per_million=given, cached_input_per_million=cached, output_per_million=made)
    return Quote(price, rates_vary)


def _is_zero(quote: Quote) -> bool:
    price = quote.price
    return price is not None and price.input_per_million in ("0", None) and price.output_per_million in ("0", None)


def openrouter_quote(entry: Entry) -> Quote:
    """Dollars a token, as strings; `overrides` are rates of long inputs, `request` a fee for each call."""
    pricing = entry.get("pricing")
    if not isinstance(pricing, dict):
        return Quote()
    fee, thinking = (_number(pricing.get(name)) for name in ("request", "internal_reasoning"))
    varies = (
        bool(pricing.get("overrides"))
        or bool(fee)
        or (bool(thinking) and thinking != _number(pricing.get("completion")))
    )
    cached = next((name for name in ("input_cache_read", "input_cache_reads") if name in pricing), "input_cache_read")
    quote = quoted(pricing, ("prompt", cached, "completion"), A_TOKEN, varies)
    # Free but for a fee is not free, and a fee has no place in a price by tokens.
    return Quote() if fee and _is_zero(quote) else quote


def vercel_quote(entry: Entry) -> Quote:
    """Dollars a token, as strings; `…_tiers` where the rate depends on the amount."""
    pricing = entry.get("pricing")
    tiers = [pricing.get(f"{name}_tiers") for name in ("input", "output")] if isinstance(pricing, dict) else []
    varies = any(isinstance(found, list) and len(found) > 1 for found in tiers)
    return quoted(pricing, ("input", "input_cache_read", "output"), A_TOKEN, varies)


def together_quote(entry: Entry) -> Quote:
    """Dollars a million tokens. Zero stands where a model is not sold by the token, so it says nothing."""
    quote = quoted(entry.get("pricing"), ("input", "cached_input", "output"), A_MILLION)
    return Quote() if _is_zero(quote) else quote


def novita_quote(entry: Entry) -> Quote:
    """Ten-thousandths of a dollar a million tokens: 3900 is 0.39 dollars."""
    names = ("input_token_price_per_m", "", "output_token_price_per_m")
    return quoted(entry, names, Decimal("0.0001"), bool(entry.get("is_tiered_billing")))


def xai_quote(entry: Entry) -> Quote:
    """Cents for a hundred million tokens: 20000 is 2 dollars a million. Zero stands at models without a text price."""
    names = ("prompt_text_token_price", "cached_prompt_text_token_price", "completion_text_token_price")
    threshold = _number(entry.get("long_context_threshold"))
    quote = quoted(entry, names, Decimal("0.0001"), bool(threshold))
    return Quote() if _is_zero(quote) else quote


def cloudflare_quote(entry: Entry) -> Quote:
    """A list of rates, each with its unit and currency."""
    rows = properties(entry).get("price")
    dollars = {
        row.get("unit"): row.get("price")
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("currency") == "USD" and isinstance(row.get("unit"), str)
    }
    names = ("per M input tokens", "per M cached input tokens", "per M output tokens")
    return quoted(dollars, names, A_MILLION)


def properties(entry: Entry) -> Entry:
    rows = entry.get("properties")
    return {
        row["property_id"]: row.get("value")
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and isinstance(row.get("property_id"), str)
    }
