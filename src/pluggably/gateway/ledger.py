"""Counts what generations used: their cost, the metrics, and what the log tells of each (the usage log).

Nothing here waits on the request path but the first look at a model's price.
"""

from __future__ import annotations

from decimal import Decimal

from pluggably.domain.catalog import Price, Target
from pluggably.domain.generation import Breakdown, Generation, Usage
from pluggably.errors import ModelUnavailable, Overloaded, ShuttingDown
from pluggably.gateway.prices import Prices, decimal_text
from pluggably.telemetry.logs import RequestLine
from pluggably.telemetry.metrics import Metrics
from pluggably.telemetry.tally import Count, Distribution

# The errors whose details are words of this gateway, and quote nothing.
OUR_OWN = frozenset((ModelUnavailable.code, Overloaded.code, ShuttingDown.code))


class Ledger:
    def __init__(self, metrics: Metrics, prices: Prices) -> None:
        self._metrics = metrics
        self._prices = prices
        self._numbers: dict[str, _Numbers] = {}

    async def settle(
        self,
        usage: Usage,
        target: Target,
        price_list: str | None,
        told: Price | None,
        breakdown: Breakdown | None = None,
    ) -> None:
        """Fills in the cost. What runs on the operator's own hardware costs nothing, unless the backend says that it
        paid another; where a price or a count is not known, the cost stays what the backend says, or null. `price_list`
        is the backend's list of published prices, `told` a price that stands over it; where the backend says what it
        bills, they are what still stands over that."""
        if target.location == "local":
            usage.cost_usd = usage.cost_usd or "0"
            return
        cost = await self._prices.cost(price_list, target.model, usage, told, breakdown)
        if cost is not None and cost >= 0:  # counts that contradict each other cost nothing that anybody knows
            usage.cost_usd = decimal_text(cost)

    def lost(self, target: Target, code: str, usage: Usage) -> None:
        """Counts an attempt that failed and was followed by another, with what it used."""
        self._metrics.failed_attempts.labels(target.backend, code).inc()
        self._numbers_of(target.backend).count(usage)

    def record(self, generation: Generation, target: Target, line: RequestLine) -> None:
        """Counts an ended generation, and fills in what the log tells of it. Called once for each, however it ended."""
        usage, backend = generation.usage, target.backend
        numbers = self._numbers_of(backend)
        numbers.ended(generation.modality, generation.status, usage)
        numbers.count(usage)
        line.generation_id = generation.id
        line.model = generation.model
        line.backend = backend
        line.backend_model = target.model
        line.modality = generation.modality
        line.generation_status = generation.status
        error = generation.error
        if error is not None:
            line.code, line.backend_status = error.code, error.backend_status
            # What a backend says may quote the request.
            line.detail = error.detail if error.code in OUR_OWN else None
        line.finish_reason = generation.finish_reason
        line.input_tokens = usage.input_tokens
        line.output_tokens = usage.output_tokens
        line.cost_usd = usage.cost_usd
        line.time_to_first_event_s = usage.time_to_first_event_s
        line.queued_s = usage.queued_s or None
        line.attempts = len(generation.attempts) or None
        line.metadata = generation.metadata or None

    def _numbers_of(self, backend: str) -> _Numbers:
        numbers = self._numbers.get(backend)
        if numbers is None:
            numbers = self._numbers[backend] = _Numbers(self._metrics, backend)
        return numbers


class _Numbers:
    """The metrics of one backend, looked up once."""

    def __init__(self, metrics: Metrics, backend: str) -> None:
        self._metrics = metrics
        self._backend = backend
        self._first_event: Distribution | None = None
        self._ends: dict[tuple[str, str], tuple[Count, Distribution]] = {}
        self._tokens: dict[str, Count] = {}

    def ended(self, modality: str, status: str, usage: Usage) -> None:
        end = self._ends.get((modality, status))
        if end is None:
            metrics, backend = self._metrics, self._backend
            end = self._ends[modality, status] = (
                metrics.generations.labels(backend, modality, status),
                metrics.generation_duration.labels(backend, modality),
            )
        count, durations = end
        count.value += 1
        if usage.duration_s is not None:
            durations.observe(usage.duration_s)
        if usage.time_to_first_event_s is not None:
            if self._first_event is None:
                self._first_event = self._metrics.first_event.labels(self._backend)
            self._first_event.observe(usage.time_to_first_event_s)

    def count(self, usage: Usage) -> None:
        """The tokens and the cost. What a backend never reported has no series."""
        if usage.input_tokens:
            self._tokens_of("input").value += usage.input_tokens
        if usage.cached_input_tokens:
            self._tokens_of("cached_input").value += usage.cached_input_tokens
        if usage.output_tokens:
            self._tokens_of("output").value += usage.output_tokens
        if usage.reasoning_tokens:
            self._tokens_of("reasoning").value += usage.reasoning_tokens
        if usage.cost_usd is not None and usage.cost_usd != "0":
            self._metrics.cost.labels(self._backend).value += float(Decimal(usage.cost_usd))

    def _tokens_of(self, direction: str) -> Count:
        count = self._tokens.get(direction)
        if count is None:
            count = self._tokens[direction] = self._metrics.tokens.labels(self._backend, direction)
        return count
