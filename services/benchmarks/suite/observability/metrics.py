"""The benchmark `metrics`: the cost of metrics, and their agreement with what a client measures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from motet.client import Client
from services.benchmarks.load.client_trace import ClientTrace, text_request, trace_request
from services.benchmarks.load.metrics_page import read_metrics
from services.benchmarks.load.scripted_toys import ToyTimings, scripted_prompt
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import median
from services.benchmarks.suite.observability.cost import PLANS, Samples, cost_of_pictures, cost_of_plans
from services.benchmarks.suite.observability.unrecorded import unrecorded
from services.benchmarks.tracing.deployment import RecordedDeploymentConfig, collect_spans, recorded_deployment
from services.benchmarks.tracing.request_stages import spans_by_request, stages_of
from services.metric_samples import MetricSamples

RECORDED, UNRECORDED = "with metrics", "without metrics"

_TOKEN, _DECODE, _STEPS = 0.012, (0.5, 0.7, 0.9), 20
"""Seconds of a token, and of the decode of each modality, in the deployment of toys."""

_METRICS = {
    "first media": "motet_time_to_first_media_seconds",
    "critical path": "motet_generation_critical_path_seconds",
    "overhead": "motet_generation_overhead_seconds",
}
"""The metric of each measurement that a client can make, too."""


def measure(bundle: str, rounds: int, answers: int, requests: int, smoke: bool) -> Report:
    """Measure rounds of `answers` answers with and without metrics, then `requests` requests of a deployment."""
    if smoke:
        rounds, answers, requests = 1, 1, 1
    return asyncio.run(_measure(bundle, rounds, answers, requests))


async def _measure(bundle: str, rounds: int, answers: int, requests: int) -> Report:
    candidates = {RECORDED: _recorded, UNRECORDED: unrecorded}
    pictures = await cost_of_pictures(bundle, rounds, answers, candidates)
    toys = await cost_of_plans(rounds, candidates)
    by_client, by_metrics = await _agreement(requests)
    return Report(
        "metrics",
        {"bundle": bundle, "rounds": rounds, "answers": answers, "requests": requests},
        [
            _cost_figure("processor time of an answer with a picture", pictures, answers, 1.02),
            _cost_figure("processor time of a plan of workers that take no time", toys, PLANS),
            *agreement_figures(by_client, by_metrics),
        ],
        [
            "The candidates alternate, in one process with all services. Without metrics, every call that records a "
            "value does nothing. The processor time is that of all threads.",
            "The client's values come from its events and from the spans of the workers, in a deployment with a "
            "process for each service. The overhead of the client includes its own connection, and the gRPC calls of "
            "the workers, which are part of the critical path for the orchestrator.",
        ],
        {"processor_seconds": {"picture": pictures, "toys": toys}, "client": by_client, "metrics": by_metrics},
    )


@asynccontextmanager
async def _recorded() -> AsyncIterator[None]:
    """Record metrics as always."""
    yield


def _cost_figure(name: str, samples: Samples, answers: int, limit: float | None = None) -> Figure:
    recorded, baseline = (median(samples[each]) / answers * 1e3 for each in (RECORDED, UNRECORDED))
    return Figure(name, recorded, "ms", Baseline(UNRECORDED, baseline), None if limit is None else at_most(limit))


def agreement_figures(by_client: Mapping[str, float], by_metrics: Mapping[str, float]) -> list[Figure]:
    """Return the figures of means in seconds, by the names of `_METRICS`.

    An overhead of milliseconds is compared as a share of the latency.
    """
    latency = by_client["critical path"] + by_client["overhead"]
    figures = []
    for name in _METRICS:
        client, metric = by_client[name], by_metrics[name]
        whole, of = (latency, "latency") if name == "overhead" else (client, "client's value")
        difference = 100 * abs(metric - client) / whole
        figures.append(Figure(f"{name}, mean of the metric", metric * 1e3, "ms", Baseline("client", client * 1e3)))
        figures.append(Figure(f"{name}, difference as a share of the {of}", difference, "%", bar=at_most(5)))
    return figures


async def _agreement(requests: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the means of the same requests in seconds, as a client and as the metrics measure them."""
    config = RecordedDeploymentConfig()
    modalities = config.manifest.independent
    step = {modality: seconds / _STEPS for modality, seconds in zip(modalities, _DECODE, strict=True)}
    config = RecordedDeploymentConfig(timings=ToyTimings(token=_TOKEN, step=step, steps=_STEPS))
    text = scripted_prompt(modalities, 10, 10, 30)
    calls = 1 + len(modalities)
    async with recorded_deployment(config) as deployment, Client(deployment.orchestrator) as client:
        # The first request opens the connections.
        await trace_request(client, text_request(text, 0))
        await collect_spans(deployment, calls)
        before = (await read_metrics(deployment.metrics)).counters
        traces = [await trace_request(client, text_request(text, seed)) for seed in range(1, requests + 1)]
        spans = spans_by_request(await collect_spans(deployment, calls * requests), range(1, requests + 1))
        after = (await read_metrics(deployment.metrics)).counters
    bounds = [stages_of(spans[seed]).bound for seed in range(1, requests + 1)]
    by_client = {
        "first media": _mean([seconds for trace in traces for seconds in _media(trace)]),
        "critical path": _mean(bounds),
        "overhead": _mean([_total(trace) - bound for trace, bound in zip(traces, bounds, strict=True)]),
    }
    return by_client, {name: _mean_between(before, after, metric) for name, metric in _METRICS.items()}


def _media(trace: ClientTrace) -> list[float]:
    return [part.finished for part in trace.media if part.finished is not None]


def _total(trace: ClientTrace) -> float:
    """Return the latency of a request in seconds. Raises `RuntimeError` if it did not succeed."""
    if not trace.succeeded or trace.total is None:
        raise RuntimeError(f"a request failed: {trace.failure}")
    return trace.total


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_between(before: MetricSamples, after: MetricSamples, name: str) -> float:
    """Return the mean of the observations of a histogram between two readings."""
    ends = [(after.total(name + end) or 0.0) - (before.total(name + end) or 0.0) for end in ("_sum", "_count")]
    return ends[0] / ends[1]
