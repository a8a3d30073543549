"""What a generation costs, by the price list of the genai-prices package as it is installed."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from pluggably.domain.generation import Usage
from pluggably.gateway.prices import Prices, decimal_text


def cost(provider: str, model: str, prices: Prices | None = None, **usage: int | None) -> Decimal | None:
    return asyncio.run((prices or Prices()).cost(provider, model, Usage(**usage)))  # type: ignore[arg-type]


def test_a_known_price() -> None:
    """Tokens times rates: gpt-4o is 2.50 in, 1.25 cached and 10.00 out per million (openai.com/api/pricing)."""
    assert cost("openai", "gpt-4o", input_tokens=1_000_000, output_tokens=0) == Decimal("2.5")
    assert cost("openai", "gpt-4o", input_tokens=0, output_tokens=1_000_000) == Decimal(10)
    assert cost("openai", "gpt-4o", input_tokens=1000, cached_input_tokens=600, output_tokens=10) == Decimal("0.00185")


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "no-such-model"), ("no-such-provider", "gpt-4o"), ("openai", ""), ("", "")]
)
def test_an_unknown_price_is_null(provider: str, model: str) -> None:
    """What is not in the list has no price, which is not zero."""
    assert cost(provider, model, input_tokens=10, output_tokens=10) is None


@pytest.mark.parametrize(("given", "made"), [(None, 10), (10, None), (None, None)])
def test_unknown_usage_costs_null(given: int | None, made: int | None) -> None:
    """Without both counts there is no cost."""
    assert cost("openai", "gpt-4o", input_tokens=given, output_tokens=made) is None


def test_nothing_used_costs_nothing() -> None:
    """Zero tokens of a known price cost zero."""
    assert cost("openai", "gpt-4o", input_tokens=0, output_tokens=0) == 0


def test_tiers_are_the_packages_business() -> None:
    """Where the rate depends on the amount, a long input costs more for each token than a short one."""
    prices = Prices()
    short = cost("google", "gemini-2.5-pro", prices, input_tokens=100_000, output_tokens=0)
    long = cost("google", "gemini-2.5-pro", prices, input_tokens=300_000, output_tokens=0)
    assert short is not None
    assert long is not None
    assert long > short * 3


def test_a_price_is_looked_up_once() -> None:
    """The same price serves again, and agrees with itself."""
    prices = Prices()
    costs = {cost("openai", "gpt-4o", prices, input_tokens=7, output_tokens=5) for _ in range(3)}
    assert costs == {Decimal("0.0000675")}


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0.000", "0"),
        ("1.50", "1.5"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("0.00000042", "0.00000042"),
        ("4.2E-7", "0.00000042"),
    ],
)
def test_money_is_plain_digits(amount: str, text: str) -> None:
    """No exponent, no trailing zeros, as the API promises."""
    assert decimal_text(Decimal(amount)) == text
