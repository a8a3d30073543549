"""Counters and histograms of what happens at every request: bare numbers, which the registry reads when it is asked.

The metrics library guards each of its numbers with a lock, which costs more than the counting. What surprises: these
have none, so they are counted on the event loop's thread only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Count:
    """What one counter has counted for one set of labels; add to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Distribution:
    """How often each bucket was met for one set of labels, and the sum of all."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.sum += value
        self.counts[bisect_left(self._bounds, value)] += 1


Child = TypeVar("Child")


class _Labelled(Collector, Generic[Child]):
    """One child for each set of labels' values that was asked for."""

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: Sequence[str],
        registry: CollectorRegistry,
        make: Callable[[], Child],
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.label_names = tuple(label_names)
        self._make = make
        self._children: dict[tuple[str, ...], Child] = {}
        registry.register(self)

    def labels(self, *values: str) -> Child:
        """To be kept by whoever counts often."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has the labels {self.label_names}")
            child = self._children[values] = self._make()
        return child

    def describe(self) -> Iterable[Metric]:
        """Without children, so that the registry knows the names."""
        return self._families({})

    def collect(self) -> Iterable[Metric]:
        # In a copy: the page may be made on another thread.
        return self._families(dict(self._children))

    def _families(self, children: dict[tuple[str, ...], Child]) -> list[Metric]:
        raise NotImplementedError


class Tally(_Labelled[Count]):
    """A counter."""

    def __init__(self, name: str, documentation: str, label_names: Sequence[str], registry: CollectorRegistry) -> None:
        super().__init__(name, documentation, label_names, registry, Count)

    def _families(self, children: dict[tuple[str, ...], Count]) -> list[Metric]:
        family = CounterMetricFamily(self.name, self.documentation, labels=self.label_names)
        for values, child in children.items():
            family.add_metric(values, child.value)
        return [family]


class Spread(_Labelled[Distribution]):
    """A histogram; `bounds` are the upper ends of its buckets, ascending."""

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: Sequence[str],
        registry: CollectorRegistry,
        bounds: Sequence[float],
    ) -> None:
        self._bounds = bounds
        super().__init__(name, documentation, label_names, registry, lambda: Distribution(bounds))

    def _families(self, children: dict[tuple[str, ...], Distribution]) -> list[Metric]:
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.label_names)
        ends = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, child in children.items():
            met, buckets = 0, []
            for end, count in zip(ends, child.counts, strict=True):
                met += count
                buckets.append((end, met))
            family.add_metric(values, buckets=buckets, sum_value=child.sum)
        return [family]
