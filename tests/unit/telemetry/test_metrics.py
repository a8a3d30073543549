"""The metrics: their names, their labels, and that gateways do not share them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pluggably.telemetry.metrics import CONTENT_TYPE, Metrics
from pluggably.telemetry.tally import Spread, Tally

# Labels whose values are bounded by the config or by the code, never by what a client makes up.
BOUNDED = {"outcome", "version", "route", "status", "code", "backend", "modality", "direction", "state", "model"}


def families() -> list[Any]:
    return list(text_string_to_metric_families(Metrics().render().decode()))


def declared() -> dict[str, Any]:
    """Each metric of a gateway by its attribute."""
    return {name: metric for name, metric in vars(Metrics()).items() if name != "registry"}


def test_the_page_can_be_read() -> None:
    """What is rendered is the text format, and says so."""
    assert "text/plain" in CONTENT_TYPE
    assert families()


@pytest.mark.parametrize("name", sorted(declared()))
def test_each_metric_is_named_and_explained(name: str) -> None:
    """Names begin with the product's, seconds and bytes stand in them, and every metric has a sentence."""
    (family,) = declared()[name].collect()
    assert re.fullmatch(r"pluggably_[a-z_]+", family.name)
    assert family.documentation.endswith(".")
    if family.type == "histogram":
        assert family.name.endswith("_seconds")


@pytest.mark.parametrize("name", sorted(declared()))
def test_labels_are_bounded(name: str) -> None:
    """No label could hold what a client made up."""
    metric = declared()[name]
    assert set(metric.label_names if isinstance(metric, Tally | Spread) else metric._labelnames) <= BOUNDED


def test_two_gateways_do_not_mix() -> None:
    """Each has a registry of its own."""
    one, two = Metrics(), Metrics()
    one.errors.labels("conflict").inc()
    assert one.registry.get_sample_value("pluggably_errors_total", {"code": "conflict"}) == 1
    assert two.registry.get_sample_value("pluggably_errors_total", {"code": "conflict"}) is None


def test_durations_reach_from_a_cached_answer_to_a_long_run() -> None:
    """The buckets tell five milliseconds from ten, and ten minutes from more."""
    metrics = Metrics()
    for seconds in (0.004, 0.009, 599.0, 700.0):
        metrics.generation_duration.labels("b", "text").observe(seconds)

    def below(bound: str) -> float | None:
        labels = {"backend": "b", "modality": "text", "le": bound}
        return metrics.registry.get_sample_value("pluggably_generation_duration_seconds_bucket", labels)

    assert (below("0.005"), below("0.01"), below("600.0"), below("+Inf")) == (1, 2, 3, 4)
