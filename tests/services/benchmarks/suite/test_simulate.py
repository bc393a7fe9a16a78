"""Simulations: queues match queueing theory, and equal seeds give equal results."""

from __future__ import annotations

import random

import pytest

from motet.core.errors import SettingsError
from motet.toys.manifest import TOY
from services.benchmarks.load.open_loop import ScheduledRequest, poisson_requests
from services.benchmarks.reports.statistics import percentile
from services.benchmarks.simulation.measured_costs import RECORDED_COSTS, MeasuredCosts, TickCosts
from services.benchmarks.suite.simulate import (
    DeploymentSize,
    check,
    digest_of,
    measure,
    multi_tenant_load,
    simulate,
)

MODALITIES = list(TOY.signals)
STEPS = TOY.decoder_of(MODALITIES[0]).steps
FIRST = MODALITIES[0]


def costs(token: float = 0.001, step: float = 0.25, finish: float = 0.0) -> MeasuredCosts:
    """Return costs that do not depend on the batch size."""
    by_size = {1: [step], 8: [step]}
    return MeasuredCosts(
        [0.0],
        TickCosts({1: [token], 64: [token]}),
        {modality: TickCosts(by_size) for modality in MODALITIES},
        {modality: [finish] for modality in MODALITIES},
    )


def test_a_single_request_takes_the_time_of_its_workers() -> None:
    requests = [ScheduledRequest(5, f"4 {FIRST} 4", 1)]

    result = simulate(TOY, costs(token=0.1, finish=0.5), DeploymentSize(grain=1), requests)

    (trace,) = result.traces
    assert trace.succeeded
    assert trace.first_text == pytest.approx(0.1)
    # Five tokens to the signal, four steps of a quarter of a second, and half a second to finish.
    assert trace.total == pytest.approx(0.5 + STEPS * 0.25 + 0.5, abs=1e-6)
    assert sum(result.busy[FIRST]) == pytest.approx(STEPS * 0.25)


def test_simultaneous_requests_share_steps() -> None:
    requests = [ScheduledRequest(0, FIRST, seed) for seed in range(4)]
    batched = simulate(TOY, costs(), DeploymentSize(decoder_slots=4, grain=1), requests)
    sequential = simulate(TOY, costs(), DeploymentSize(decoder_slots=1, grain=1), requests)

    assert max(trace.total or 0 for trace in batched.traces) == pytest.approx(1.001, abs=1e-3)
    assert max(trace.total or 0 for trace in sequential.traces) == pytest.approx(4.001, abs=1e-3)


def test_the_mean_wait_matches_queueing_theory() -> None:
    # One worker, a service time of one second, Poisson arrivals at 70 % load: the mean wait of an M/D/1 queue is
    # rho / (2 (1 - rho)).
    requests = poisson_requests(0.7, 4000, [FIRST], random.Random(2))
    size = DeploymentSize(decoder_slots=1, grain=STEPS)

    result = simulate(TOY, costs(token=1e-9), size, requests, queue_seconds=1e6)

    waits = [(trace.total or 0) - 1 for trace in result.traces]
    assert sum(waits) / len(waits) == pytest.approx(0.7 / (2 * 0.3), rel=0.15)
    assert sum(result.busy[FIRST]) / result.seconds == pytest.approx(0.7, rel=0.05)


def test_replicas_share_the_work_evenly() -> None:
    requests = poisson_requests(3, 200, [FIRST], random.Random(2))

    result = simulate(TOY, costs(), DeploymentSize({FIRST: 4}, decoder_slots=1, grain=STEPS), requests)

    assert max(result.busy[FIRST]) < 1.4 * min(result.busy[FIRST])
    assert all(trace.succeeded for trace in result.traces)


def test_overload_is_refused_at_once_and_the_other_requests_succeed() -> None:
    requests = poisson_requests(4, 60, [FIRST], random.Random(2))

    result = simulate(TOY, costs(), DeploymentSize(decoder_slots=1, grain=STEPS), requests, queue_seconds=5)

    refused = [trace for trace in result.traces if not trace.succeeded]
    assert {trace.error_reason for trace in refused} == {"QUEUE_FULL"}
    assert len(refused) > 100
    assert max(trace.total or 0 for trace in result.traces if trace.succeeded) < 10


def test_a_greedy_tenant_does_not_delay_the_others() -> None:
    requests = multi_tenant_load([FIRST], 1.5, 200, 1.0, 1, 3, 0.8, random.Random(4))

    result = simulate(TOY, costs(), DeploymentSize(decoder_slots=1, grain=STEPS), requests, queue_seconds=1000)

    totals: dict[bool, list[float]] = {True: [], False: []}
    for request, trace in zip(requests, result.traces, strict=True):
        totals[request.tenant == "tenant-0"].append(trace.total or 0)
    assert percentile(totals[False], 95) < 6
    assert percentile(totals[True], 95) > 50


def test_equal_seeds_give_equal_results_and_other_seeds_other_results() -> None:
    varying = MeasuredCosts(
        [0.1, 0.2],
        TickCosts({1: [0.01, 0.03]}),
        {modality: TickCosts({1: [0.1, 0.3]}) for modality in MODALITIES},
        costs().finish,
    )

    def digest(seed: int) -> str:
        requests = multi_tenant_load(MODALITIES, 2, 30, 0.5, 20, 3, 0.5, random.Random(seed))
        return digest_of(simulate(TOY, varying, DeploymentSize(), requests, seed=seed).traces)

    assert digest(1) == digest(1) != digest(2)


def test_an_hour_is_simulated_in_seconds() -> None:
    requests = poisson_requests(0.2, 3600, [f"5 {FIRST}"], random.Random(0))

    # Anything close to real time would exceed the test's time limit.
    assert simulate(TOY, costs(), DeploymentSize(), requests).seconds > 3000


def test_unknown_replicas_and_missing_costs_are_refused() -> None:
    with pytest.raises(SettingsError, match="no replicas of smell"):
        check(TOY, costs(), DeploymentSize({"smell": 2}))
    with pytest.raises(SettingsError, match="calibrate with this bundle"):
        check(TOY, MeasuredCosts([0.1], TickCosts({1: [0.1]}), {}, {}), DeploymentSize())


def test_the_recorded_costs_simulate_the_nano_bundle() -> None:
    report = measure(
        replicas={},
        rate=1,
        minutes=0.5,
        bundle="nano",
        costs=RECORDED_COSTS,
        media=0.5,
        tokens=60,
        tenants=4,
        greedy=0.5,
        width=4,
        queue_seconds=60.0,
        grain=5,
        seed=0,
    )

    assert report.figure("requests that succeeded").value == 100
    assert report.figure("simulated seconds per second").value > 1
