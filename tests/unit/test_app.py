"""What the composition root decides by itself: the gauges, and what is said where it cannot listen."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pluggably.app import _cannot_listen, _refresh
from pluggably.config import Config, Settings
from pluggably.domain.catalog import WorkerReport
from pluggably.gateway.health import Health
from pluggably.telemetry.metrics import Metrics


class Workers:
    """Two workers of one model, as for a while after its config has changed."""

    is_well = True
    running = ()

    def workers(self) -> list[WorkerReport]:
        return [
            WorkerReport(
                model="qwen",
                runner="toy",
                pid=pid,
                state="ready",
                slots=1,
                slots_in_use=1,
                queue_length=pid,
                started_at=datetime.now(UTC),
                idle_s=None,
                memory_bytes=100 * pid,
            )
            for pid in (1, 2)
        ]


def test_the_workers_of_one_model_add_up() -> None:
    """What both hold and who waits for either is one number, also at the second look."""
    metrics, house = Metrics(), Workers()
    several: Any = house
    for _ in range(2):
        _refresh(metrics, several, several, Health(lambda: 0.0))
    value = metrics.registry.get_sample_value
    assert value("pluggably_worker_memory_bytes", {"model": "qwen"}) == 300
    assert value("pluggably_queued_generations", {"model": "qwen"}) == 3


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EADDRINUSE, "give another port: --port"),
        (errno.EACCES, "Give another, above 1023: --port"),
        (errno.EADDRNOTAVAIL, "Give another address: --host"),
    ],
)
def test_what_to_do_about_an_address_fits_what_is_wrong(number: int, advice: str) -> None:
    """A port that is taken or for root alone is not the address's fault."""
    settings = Settings(config=Config(), config_path=None, data_dir=Path("/"), host="127.0.0.1", port=80)
    assert advice in _cannot_listen(settings, OSError(number, "no"))
