"""Counts what generations used: their cost, the metrics, and what the log tells of each (the usage log).

Nothing here waits on the request path but the first look at a model's price.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pluggably.domain.catalog import Price, Target
from pluggably.domain.generation import Generation, Usage
from pluggably.gateway.prices import Prices, decimal_text
from pluggably.telemetry.metrics import Metrics


class Ledger:
    def __init__(self, metrics: Metrics, prices: Prices) -> None:
        self._metrics = metrics
        self._prices = prices
        self._children: dict[tuple[Any, ...], Any] = {}

    async def settle(self, usage: Usage, target: Target, price_list: str | None, told: Price | None) -> None:
        """Fills in the cost. What runs on the operator's own hardware costs nothing, unless the backend says that it
        paid another; where a price or a count is not known, the cost stays what the backend says, or null. `price_list`
        is the backend's list of published prices, `told` a price that stands over it."""
        if target.location == "local":
            usage.cost_usd = usage.cost_usd or "0"
            return
        cost = await self._prices.cost(price_list, target.model, usage, told)
        if cost is not None:
            usage.cost_usd = decimal_text(cost)

    def lost(self, target: Target, code: str, usage: Usage) -> None:
        """Counts an attempt that failed and was followed by another, with what it used."""
        self._bound(self._metrics.failed_attempts, target.backend, code).inc()
        self._count_usage(target.backend, usage)

    def record(self, generation: Generation, target: Target) -> dict[str, Any]:
        """Counts an ended generation, and returns what the log tells of it. Called once for each, however it ended."""
        usage, backend, bound = generation.usage, target.backend, self._bound
        bound(self._metrics.generations, backend, generation.modality, generation.status).inc()
        if usage.duration_s is not None:
            bound(self._metrics.generation_duration, backend, generation.modality).observe(usage.duration_s)
        if usage.time_to_first_event_s is not None:
            bound(self._metrics.first_event, backend).observe(usage.time_to_first_event_s)
        self._count_usage(backend, usage)
        return {
            "generation_id": generation.id,
            "model": generation.model,
            "backend": backend,
            "backend_model": target.model,
            "modality": generation.modality,
            "generation_status": generation.status,
            "code": generation.error.code if generation.error else None,
            "finish_reason": generation.finish_reason,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": usage.cost_usd,
            "time_to_first_event_s": usage.time_to_first_event_s,
            "queued_s": usage.queued_s or None,
            "attempts": len(generation.attempts) or None,
            "metadata": generation.metadata or None,
        }

    def _count_usage(self, backend: str, usage: Usage) -> None:
        bound = self._bound
        for direction, count in (
            ("input", usage.input_tokens),
            ("cached_input", usage.cached_input_tokens),
            ("output", usage.output_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            if count:
                bound(self._metrics.tokens, backend, direction).inc(count)
        if usage.cost_usd is not None and usage.cost_usd != "0":
            bound(self._metrics.cost, backend).inc(float(Decimal(usage.cost_usd)))

    def _bound(self, metric: Any, *labels: str) -> Any:
        """A metric with its labels, looked up once: the library's own look-up costs more than the count."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child
