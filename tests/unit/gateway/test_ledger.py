"""What an ended generation adds to the metrics, and what the log tells of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from pluggably.domain.catalog import Target
from pluggably.domain.generation import Generation, Status, Usage
from pluggably.errors import BackendError, BackendTimeout, InvalidRequest, ModelUnavailable, PluggablyError
from pluggably.gateway.ledger import Ledger
from pluggably.gateway.prices import Prices
from pluggably.telemetry.logs import RequestLine
from pluggably.telemetry.metrics import Metrics

LOCAL = Target(backend="qwen", model="qwen", location="local")
REMOTE = Target(backend="openai", model="gpt-4o", location="remote")
SECRET_WORDS = "what the prompt says"


def generation(usage: Usage, status: Status = "completed", **fields: Any) -> Generation:
    return Generation(
        id="gen_1", status=status, modality="text", model="smart", created_at=datetime.now(UTC), usage=usage, **fields
    )


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def ledger(metrics: Metrics) -> Ledger:
    return Ledger(metrics, Prices())


def settle(ledger: Ledger, target: Target, **counts: Any) -> Usage:
    usage = Usage(**counts)
    asyncio.run(ledger.settle(usage, target, {"openai": "openai"}.get(target.backend), None))
    return usage


def test_our_own_hardware_costs_nothing(ledger: Ledger) -> None:
    """A local model's cost is zero, counted or not."""
    assert settle(ledger, LOCAL).cost_usd == "0"
    assert settle(ledger, LOCAL, input_tokens=5, output_tokens=5).cost_usd == "0"


def test_a_backend_that_tells_its_price_is_believed_where_nobody_knows_better(ledger: Ledger) -> None:
    """Another gateway of ours may have paid somebody; a price that is known here stands over what it says."""
    assert settle(ledger, LOCAL, cost_usd="0.25").cost_usd == "0.25"
    other = Target(backend="home", model="unknown", location="remote")
    assert settle(ledger, other, cost_usd="0.25").cost_usd == "0.25"
    assert settle(ledger, REMOTE, cost_usd="9", input_tokens=1000, output_tokens=100).cost_usd == "0.0035"


def test_a_provider_costs_what_its_list_says(ledger: Ledger) -> None:
    """A known price is filled in as a decimal string; an unknown one, or unknown counts, leave null."""
    assert settle(ledger, REMOTE, input_tokens=1000, output_tokens=100).cost_usd == "0.0035"
    assert settle(ledger, REMOTE).cost_usd is None
    other = Target(backend="openai", model="unknown", location="remote")
    assert settle(ledger, other, input_tokens=1, output_tokens=1).cost_usd is None
    unlisted = Target(backend="mine", model="gpt-4o", location="remote")
    assert settle(ledger, unlisted, input_tokens=1, output_tokens=1).cost_usd is None


def test_counts_that_contradict_each_other_have_no_cost(ledger: Ledger) -> None:
    """A backend that read more from its cache than it was sent; a sum of money cannot shrink."""
    usage = settle(ledger, REMOTE, input_tokens=1, cached_input_tokens=1_000_000, output_tokens=1)
    assert usage.cost_usd is None
    ledger.record(generation(usage), REMOTE, RequestLine())


def test_a_generation_is_counted(ledger: Ledger, metrics: Metrics) -> None:
    """Count, durations, tokens by direction and cost, under bounded labels."""
    usage = Usage(
        input_tokens=10,
        cached_input_tokens=4,
        output_tokens=6,
        reasoning_tokens=0,
        cost_usd="0.25",
        duration_s=1.5,
        time_to_first_event_s=0.5,
    )
    ledger.record(generation(usage), REMOTE, RequestLine())
    one = {"backend": "openai", "modality": "text"}
    assert sample(metrics, "pluggably_generations_total", **one, status="completed") == 1
    assert sample(metrics, "pluggably_generation_duration_seconds_sum", **one) == 1.5
    assert sample(metrics, "pluggably_time_to_first_event_seconds_count", backend="openai") == 1
    for direction, count in (("input", 10), ("cached_input", 4), ("output", 6), ("reasoning", None)):
        assert sample(metrics, "pluggably_tokens_total", backend="openai", direction=direction) == count
    assert sample(metrics, "pluggably_cost_usd_total", backend="openai") == 0.25


def test_what_is_unknown_is_not_counted(ledger: Ledger, metrics: Metrics) -> None:
    """A failure without usage counts as a failure, and as nothing else."""
    error = BackendTimeout("slow").problem("req_1")
    ledger.record(generation(Usage(), "failed", error=error), REMOTE, RequestLine())
    assert sample(metrics, "pluggably_generations_total", backend="openai", modality="text", status="failed") == 1
    text = metrics.render().decode()
    assert "pluggably_tokens_total{" not in text
    assert "pluggably_cost_usd_total{" not in text
    assert "pluggably_time_to_first_event_seconds_count{" not in text


def test_counts_add_up(ledger: Ledger, metrics: Metrics) -> None:
    """Each generation is counted once, those of other backends apart."""
    for target in (LOCAL, LOCAL, REMOTE):
        ledger.record(generation(Usage(output_tokens=2, cost_usd="0")), target, RequestLine())
    assert sample(metrics, "pluggably_generations_total", backend="qwen", modality="text", status="completed") == 2
    assert sample(metrics, "pluggably_tokens_total", backend="qwen", direction="output") == 4
    assert sample(metrics, "pluggably_tokens_total", backend="openai", direction="output") == 2


def test_what_a_client_makes_up_is_no_label(ledger: Ledger, metrics: Metrics) -> None:
    """Names of models are in the log, not in the metrics."""
    for number in range(50):
        target = Target(backend="openai", model=f"made-up-{number}", location="remote")
        ledger.record(generation(Usage(duration_s=1.0)), target, RequestLine())
    assert "made-up" not in metrics.render().decode()


@pytest.mark.parametrize(
    ("error", "detail", "status"),
    [
        (ModelUnavailable("its file is gone"), "its file is gone", None),
        (BackendError("it said: my prompt", backend_status=500), None, 500),
        (InvalidRequest("/input: is wrong"), None, None),
    ],
)
def test_the_log_tells_why(ledger: Ledger, error: PluggablyError, detail: str | None, status: int | None) -> None:
    """Our own words and a backend's status; not a backend's words, which may quote the request."""
    line = RequestLine()
    ledger.record(generation(Usage(), "failed", error=error.problem()), REMOTE, line)
    assert (line.code, line.detail, line.backend_status) == (error.code, detail, status)


def test_the_log_tells_all_but_the_words(ledger: Ledger) -> None:
    """The line names the generation, its models, its end and its cost; never what was said."""
    error = BackendTimeout(SECRET_WORDS).problem("req_1")
    usage = Usage(input_tokens=3, output_tokens=0, cost_usd="0.1", queued_s=0.5)
    line = RequestLine()
    ledger.record(generation(usage, "failed", error=error, metadata={"team": "a"}), REMOTE, line)
    assert line.generation_id == "gen_1"
    assert (line.model, line.backend, line.backend_model) == ("smart", "openai", "gpt-4o")
    assert (line.generation_status, line.code) == ("failed", "backend_timeout")
    assert (line.input_tokens, line.output_tokens, line.cost_usd) == (3, 0, "0.1")
    assert (line.queued_s, line.metadata) == (0.5, {"team": "a"})
    assert SECRET_WORDS not in repr(line)
