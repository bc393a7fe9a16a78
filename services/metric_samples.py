"""Samples of metrics, of one process or of several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

MAX_LINE = 2048
"""Maximum length of a line of an exposition in characters. The parser takes quadratic time for a line."""


@dataclass(frozen=True, slots=True)
class MetricSample:
    """A finite value with its labels."""

    labels: Mapping[str, str]
    value: float

    def matches(self, wanted: Mapping[str, str]) -> bool:
        """Return whether the labels have these values."""
        return all(self.labels.get(name) == value for name, value in wanted.items())


class MetricSamples:
    """Samples by the names of their metrics. With several processes, samples may have equal names and labels."""

    def __init__(self, by_name: Mapping[str, Sequence[MetricSample]]) -> None:
        self._by_name = by_name

    @classmethod
    def merged(cls, parts: Iterable[MetricSamples]) -> Self:
        """Return all samples of several processes."""
        merged: dict[str, list[MetricSample]] = {}
        for part in parts:
            for name, samples in part._by_name.items():
                merged.setdefault(name, []).extend(samples)
        return cls(merged)

    def __iter__(self) -> Iterator[tuple[str, MetricSample]]:
        """Yield each sample with the name of its metric."""
        for name, samples in self._by_name.items():
            for sample in samples:
                yield name, sample

    def of(self, name: str, **labels: str) -> list[MetricSample]:
        """Return the samples of a metric whose labels have these values."""
        return [sample for sample in self._by_name.get(name, ()) if sample.matches(labels)]

    def total(self, name: str, **labels: str) -> float | None:
        """Return the sum of the values of samples, or None without samples."""
        values = [sample.value for sample in self.of(name, **labels)]
        return sum(values) if values else None

    def largest(self, name: str, **labels: str) -> float | None:
        """Return the largest value of samples, or None without samples."""
        return max((sample.value for sample in self.of(name, **labels)), default=None)

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Return the sums of the values of samples by the values of a label."""
        sums: dict[str, float] = {}
        for sample in self.of(name, **labels):
            key = sample.labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + sample.value
        return sums

    def mean(self, histogram: str, **labels: str) -> float | None:
        """Return the mean observation of a histogram whose samples are rates, or None without an observation."""
        count = self.total(f"{histogram}_count", **labels)
        return (self.total(f"{histogram}_sum", **labels) or 0.0) / count if count else None


@dataclass(frozen=True, slots=True)
class Exposition:
    """The metrics of one process at one moment. `counters` has the sums and counts of histograms, too.

    `names` are the names of all families, also of those without a sample.
    """

    gauges: MetricSamples
    counters: MetricSamples
    names: frozenset[str] = field(default_factory=frozenset)


def exposition_of(text: str) -> Exposition:
    """Return the metrics of a text in the format of Prometheus. Raises `ValueError` for another format.

    Values that are not finite are left out.
    """
    from prometheus_client.parser import text_string_to_metric_families

    if any(len(line) > MAX_LINE for line in text.splitlines()):
        raise ValueError(f"a line has more than {MAX_LINE} characters")
    gauges: dict[str, list[MetricSample]] = {}
    counters: dict[str, list[MetricSample]] = {}
    names = set()
    for family in text_string_to_metric_families(text):
        names.add(family.name)
        grows = family.type in ("counter", "histogram", "summary")
        kind = counters if grows else gauges
        for sample in family.samples:
            # Their buckets are most samples, and nothing here needs them.
            if math.isfinite(sample.value) and not (grows and sample.name.endswith("_bucket")):
                kind.setdefault(sample.name, []).append(MetricSample(sample.labels, sample.value))
    return Exposition(MetricSamples(gauges), MetricSamples(counters), frozenset(names))
