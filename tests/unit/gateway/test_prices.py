"""What a generation costs, by the price list of the genai-prices package as it is installed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pluggably.domain.catalog import Price, RemoteModel
from pluggably.domain.generation import Breakdown, Usage
from pluggably.gateway.prices import Prices, decimal_text


def cost(
    provider: str | None,
    model: str,
    prices: Prices | None = None,
    told: Price | None = None,
    apart: Breakdown | None = None,
    **usage: int | None,
) -> Decimal | None:
    used = Usage(**usage)  # type: ignore[arg-type]
    return asyncio.run((prices or Prices()).cost(provider, model, used, told, apart))


def price(given: str | None = None, made: str | None = None, cached: str | None = None) -> Price:
    return Price(input_per_million=given, cached_input_per_million=cached, output_per_million=made)


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


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 200_000, "output_tokens": 1000}, "0.26"),
        # Over 200k tokens the higher rates count for all of it, the output too.
        ({"input_tokens": 200_001, "output_tokens": 1000}, "0.5150025"),
        ({"input_tokens": 300_000, "cached_input_tokens": 100_000, "output_tokens": 0}, "0.525"),
        ({"input_tokens": 100_000, "cached_input_tokens": 100_000, "output_tokens": 0}, "0.0125"),
    ],
)
def test_rates_that_depend_on_the_amount(usage: dict[str, int], expected: str) -> None:
    """The input decides for all rates: gemini-2.5-pro costs 1.25, 0.125 and 10 up to 200,000 tokens of input, and 2.50,
    0.25 and 15 above (ai.google.dev/gemini-api/docs/pricing)."""
    assert cost("google", "gemini-2.5-pro", **usage) == Decimal(expected)


MILLION = {"input_tokens": 1_000_000, "output_tokens": 0}


@pytest.mark.parametrize(
    ("provider", "model", "apart", "expected"),
    [
        # 5 in, 6.25 and 10 written for five minutes and for an hour.
        ("anthropic", "claude-opus-4-5", Breakdown(cache_write_tokens=1_000_000), "6.25"),
        ("anthropic", "claude-opus-4-5", Breakdown(cache_write_tokens=400_000, cache_write_1h_tokens=100_000), "5.875"),
        # 3 in, and 6 for more than 200,000 tokens: then 7.50 written.
        ("anthropic", "claude-sonnet-4-5", Breakdown(cache_write_tokens=1_000_000), "7.5"),
        ("aws", "global.anthropic.claude-haiku-4-5-20251001-v1:0", Breakdown(cache_write_tokens=1_000_000), "1.25"),
        # Its writes have no rate of their own: they cost what input does.
        ("aws", "amazon.nova-pro-v1:0", Breakdown(cache_write_tokens=1_000_000), "0.8"),
        # 3 in, 3.75 written, and no rate for an hour: twice the input.
        ("google", "claude-3-7-sonnet", Breakdown(cache_write_tokens=1_000_000, cache_write_1h_tokens=1_000_000), "6"),
    ],
)
def test_what_is_written_into_a_cache_has_its_own_rate(
    provider: str, model: str, apart: Breakdown, expected: str
) -> None:
    """The list's, by the time for which it is kept (platform.claude.com/docs/en/build-with-claude/prompt-caching)."""
    assert cost(provider, model, apart=apart, **MILLION) == Decimal(expected)


def test_writes_beside_a_told_price_cost_what_is_documented() -> None:
    """An operator's price has no rate for them: 1.25 times the input, and twice for an hour; never less."""
    apart = Breakdown(cache_write_tokens=500_000, cache_write_1h_tokens=100_000)
    told = price("4", "20", "0.4")
    usage = {"input_tokens": 1_000_000, "cached_input_tokens": 300_000, "output_tokens": 0}
    assert cost(None, "m", told=told, apart=apart, **usage) == Decimal("0.2") * 4 + Decimal("0.4") * 5 + Decimal(
        "0.1"
    ) * 8 + Decimal("0.3") * Decimal("0.4")
    assert cost(None, "m", told=price("0", "0"), apart=apart, **usage) == 0


def test_audio_has_its_own_rates() -> None:
    """gemini-2.5-flash takes 0.30 for text and 1.00 for audio, 0.03 and 0.10 from the cache
    (ai.google.dev/gemini-api/docs/pricing); where a list has no such rate, audio costs what text does."""
    apart = Breakdown(audio_input_tokens=600_000, cached_audio_tokens=100_000)
    usage = {"input_tokens": 1_000_000, "cached_input_tokens": 200_000, "output_tokens": 0}
    expected = Decimal("0.3") * Decimal("0.3") + Decimal("0.5") * 1 + Decimal("0.1") * Decimal("0.03") + Decimal("0.01")
    assert cost("google", "gemini-2.5-flash", apart=apart, **usage) == expected
    plain = cost("openai", "gpt-4o", **usage)
    assert plain is not None
    assert cost("openai", "gpt-4o", apart=apart, **usage) == plain


def test_what_is_spoken_has_its_own_rate() -> None:
    """gpt-audio takes 10 for text and 64 for audio that it makes (openai.com/api/pricing)."""
    apart = Breakdown(audio_output_tokens=500_000)
    usage = {"input_tokens": 0, "output_tokens": 1_000_000}
    assert cost("openai", "gpt-audio", apart=apart, **usage) == 37


PACKAGES = [
    ("anthropic", "claude-sonnet-4-5", 150_000),
    ("anthropic", "claude-sonnet-4-5", 250_000),
    ("google", "gemini-2.5-flash", 1000),
    ("google", "gemini-2.5-pro", 250_000),
    ("openai", "gpt-audio", 1000),
    ("openai", "gpt-realtime", 1000),
]


@pytest.mark.parametrize(("provider", "model", "sent"), PACKAGES)
def test_the_package_comes_to_the_same(provider: str, model: str, sent: int) -> None:
    """Its own calculation, which is slow, of tiers, writes and audio."""
    from genai_prices import Usage as Counts
    from genai_prices import data_snapshot

    _, found = data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)
    writes = provider == "anthropic"
    apart = (
        Breakdown(cache_write_tokens=300, cache_write_1h_tokens=100)
        if writes
        else Breakdown(audio_input_tokens=200, cached_audio_tokens=40, audio_output_tokens=5)
    )
    counts = Counts(
        input_tokens=sent,
        cache_read_tokens=50,
        output_tokens=70,
        cache_write_tokens=apart.cache_write_tokens,
        cache_write_1h_tokens=apart.cache_write_1h_tokens,
        input_audio_tokens=apart.audio_input_tokens,
        cache_audio_read_tokens=apart.cached_audio_tokens,
        output_audio_tokens=apart.audio_output_tokens,
    )
    theirs = found.get_prices(datetime.now(UTC)).calc_price(counts)["total_price"]
    ours = cost(provider, model, apart=apart, input_tokens=sent, cached_input_tokens=50, output_tokens=70)
    assert ours == theirs


def test_a_price_is_looked_up_once() -> None:
    """The same price serves again, and agrees with itself."""
    prices = Prices()
    costs = {cost("openai", "gpt-4o", prices, input_tokens=7, output_tokens=5) for _ in range(3)}
    assert costs == {Decimal("0.0000675")}


def test_a_told_price_stands_over_the_packages() -> None:
    """What the operator or the provider's list says counts, exactly, also where the package has no list."""
    told = price("0.1", "0.7", "0.03")
    usage: dict[str, Any] = {"input_tokens": 12_347, "cached_input_tokens": 1_001, "output_tokens": 333}
    expected = (11_346 * Decimal("0.1") + 1_001 * Decimal("0.03") + 333 * Decimal("0.7")) / 1_000_000
    assert cost("openai", "gpt-4o", told=told, **usage) == expected == Decimal("0.00139773")
    assert cost(None, "anything", told=told, **usage) == expected
    assert cost(None, "anything", **usage) is None


def test_a_told_price_without_a_cached_rate() -> None:
    """Cached input costs what fresh input does, where nobody says otherwise."""
    assert cost(
        None, "m", told=price("2", "4"), input_tokens=1000, cached_input_tokens=400, output_tokens=0
    ) == Decimal("0.002")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (price("0", "0"), Decimal(0)),
        (price("1"), None),
        (price(None, "1"), None),
        (price("dear", "1"), None),
        (price("-1", "1"), None),
        (price("NaN", "1"), None),
        (price(), None),
    ],
)
def test_half_a_told_price_makes_no_cost(told: Price, expected: Decimal | None) -> None:
    """A rate that is missing, or is no amount of money, leaves the cost unknown; zero is a price."""
    assert cost("openai", "gpt-4o", told=told, input_tokens=10, output_tokens=10) == expected


def test_half_a_price_is_enough_for_what_was_used() -> None:
    """An embedding makes no output, so its rate for output need not be known."""
    assert cost(None, "m", told=price("0.02"), input_tokens=1_000_000, output_tokens=0) == Decimal("0.02")


def test_the_price_to_show() -> None:
    """The told price, else the package's; of one in tiers the rates of a short input; else none."""
    prices = Prices()

    async def shown(price_list: str | None, model: str, told: Price | None = None) -> Price | None:
        return await prices.price(price_list, model, told)

    assert asyncio.run(shown("openai", "gpt-4o")) == price("2.5", "10", "1.25")
    assert asyncio.run(shown("google", "gemini-2.5-pro")) == price("1.25", "10", "0.125")
    assert asyncio.run(shown("openai", "gpt-4o", price("1"))) == price("1")
    assert asyncio.run(shown("openai", "no-such-model")) is None
    assert asyncio.run(shown(None, "gpt-4o")) is None


def test_published_prices_are_known_once_loaded() -> None:
    """Before anybody looked nothing is known; a model that the package does not have stays unknown."""

    async def main() -> tuple[RemoteModel | None, RemoteModel | None, RemoteModel | None]:
        published = Prices().published("openai")
        before = published.loaded("gpt-4o")
        await published.load(["gpt-4o", "no-such-model"])
        return before, published.loaded("gpt-4o"), published.loaded("no-such-model")

    before, after, stranger = asyncio.run(main())
    assert (before, stranger) == (None, None)
    assert after is not None
    assert after.price == price("2.5", "10", "1.25")
    assert after.context_tokens == 128_000


def test_a_price_that_was_paid_is_published_too() -> None:
    """What a cost looked up need not be looked up again for a list."""
    prices = Prices()
    assert cost("openai", "gpt-4o", prices, input_tokens=1, output_tokens=1) is not None
    assert prices.published("openai").loaded("gpt-4o") is not None
    assert prices.published("groq").loaded("gpt-4o") is None


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
