"""The counters and histograms of what happens at every request."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pluggably.telemetry.tally import Spread, Tally


def test_a_tally_shows_each_set_of_labels() -> None:
    """What was counted stands in the page under its labels; the same labels are the same count."""
    registry = CollectorRegistry()
    tally = Tally("pluggably_things_total", "Things.", ["kind"], registry)
    tally.labels("a").value += 2
    tally.labels("a").value += 1
    tally.labels('b"\n').value += 0.5
    assert registry.get_sample_value("pluggably_things_total", {"kind": "a"}) == 3
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    assert {sample.labels["kind"]: sample.value for sample in family.samples} == {"a": 3.0, 'b"\n': 0.5}


def test_a_spread_is_the_librarys_histogram() -> None:
    """Buckets, sum and count are those of the metrics library's own histogram, also at the very end of a bucket."""
    values, bounds = [0.0, 0.1, 0.10001, 1.0, 2.5, 3.0, 99.0], (0.1, 1.0, 2.5)
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spread = Spread("pluggably_wait_seconds", "Waits.", ["kind"], ours, bounds)
    histogram = Histogram("pluggably_wait_seconds", "Waits.", ["kind"], buckets=bounds, registry=theirs)
    for value in values:
        spread.labels("a").observe(value)
        histogram.labels("a").observe(value)

    def samples(registry: CollectorRegistry) -> set[tuple[str, str | None, float]]:
        page = generate_latest(registry).decode()
        return {
            (sample.name, sample.labels.get("le"), sample.value)
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if not sample.name.endswith("_created")
        }

    assert samples(ours) == samples(theirs)


def test_a_name_is_given_once() -> None:
    """Two metrics of one name in one registry are a slip, which is told at once; so are labels that do not fit."""
    registry = CollectorRegistry()
    tally = Tally("pluggably_things_total", "Things.", ["kind"], registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Tally("pluggably_things_total", "Things.", [], registry)
    with pytest.raises(ValueError, match="labels"):
        tally.labels("a", "b")
