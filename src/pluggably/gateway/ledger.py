"""Counts what generations used: their cost, the metrics, and one line in the log for each (the usage log).

Nothing here waits on the request path but the first look at a model's price.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import structlog

from pluggably.domain.access import Principal
from pluggably.domain.catalog import Target
from pluggably.domain.generation import Generation, Usage
from pluggably.gateway.prices import Prices, decimal_text
from pluggably.telemetry.metrics import Metrics

log = structlog.get_logger()


class Ledger:
    """`price_lists` names each provider's list of prices; a backend that is not in it has no known price."""

    def __init__(self, metrics: Metrics, prices: Prices, price_lists: Mapping[str, str]) -> None:
        self._metrics = metrics
        self._prices = prices
        self._price_lists = price_lists

    async def settle(self, usage: Usage, target: Target) -> None:
        """Fills in the cost. What runs on the operator's own hardware costs nothing; where a price or a count is not
        known, the cost stays null."""
        if target.location == "local":
            usage.cost_usd = "0"
            return
        price_list = self._price_lists.get(target.backend)
        if price_list is None:
            return
        cost = await self._prices.cost(price_list, target.model, usage)
        if cost is not None:
            usage.cost_usd = decimal_text(cost)

    def record(self, generation: Generation, principal: Principal, target: Target, request_id: str) -> None:
        """Counts an ended generation. Called once for each, however it ended."""
        metrics, usage, backend = self._metrics, generation.usage, target.backend
        metrics.generations.labels(backend, generation.modality, generation.status).inc()
        if usage.duration_s is not None:
            metrics.generation_duration.labels(backend, generation.modality).observe(usage.duration_s)
        if usage.time_to_first_event_s is not None:
            metrics.first_event.labels(backend).observe(usage.time_to_first_event_s)
        for direction, count in (
            ("input", usage.input_tokens),
            ("cached_input", usage.cached_input_tokens),
            ("output", usage.output_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            if count:
                metrics.tokens.labels(backend, direction).inc(count)
        if usage.cost_usd is not None and usage.cost_usd != "0":
            metrics.cost.labels(backend).inc(float(Decimal(usage.cost_usd)))
        log.info(
            "generation",
            request_id=request_id,
            generation_id=generation.id,
            key_id=principal.id,
            model=generation.model,
            backend=backend,
            backend_model=target.model,
            modality=generation.modality,
            status=generation.status,
            code=generation.error.code if generation.error else None,
            finish_reason=generation.finish_reason,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=usage.cost_usd,
            duration_s=usage.duration_s,
            time_to_first_event_s=usage.time_to_first_event_s,
            queued_s=usage.queued_s,
            metadata=generation.metadata or None,
        )
