"""Two readings of the metrics of one process, and the rates of its counters between them."""

from __future__ import annotations

from dataclasses import dataclass

from services.metric_samples import Exposition, MetricSample, MetricSamples

_START = "process_start_time_seconds"


@dataclass(frozen=True, slots=True)
class MetricsReading:
    """The metrics of a process at a time of `now()`."""

    at: float
    metrics: Exposition


def rates_between(before: MetricsReading, after: MetricsReading) -> MetricSamples:
    """Return the increase of each counter per second.

    A counter that fell was reset, and began at 0 again. All counters of a process that started between the readings
    did. A counter that has its first sample in the later reading was 0 before.
    """
    restarted = before.metrics.gauges.largest(_START) != after.metrics.gauges.largest(_START)
    earlier = {} if restarted else {_key(*each): each[1].value for each in before.metrics.counters}
    rates: dict[str, list[MetricSample]] = {}
    for name, sample in after.metrics.counters:
        increase = sample.value - earlier.get(_key(name, sample), 0.0)
        if increase < 0:
            increase = sample.value
        # A clock may give two readings the same time.
        rate = increase / max(after.at - before.at, 1e-3)
        rates.setdefault(name, []).append(MetricSample(sample.labels, rate))
    return MetricSamples(rates)


def _key(name: str, sample: MetricSample) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(sample.labels.items())
