"""The benchmark `scaling`: the decisions of KEDA's model, and fleets under a short load."""

from __future__ import annotations

from statistics import median

import pytest

from motet.toys.manifest import TOY
from orchestrator.pool.demand import Demand
from services.benchmarks.simulation.measured_costs import MeasuredCosts, TickCosts
from services.benchmarks.suite.scaling.autoscaler import SYNC_INTERVAL, Autoscaler, ScalingPolicy
from services.benchmarks.suite.scaling.benchmark import FLEETS, Scenario, run_fleet, scenario_of
from services.benchmarks.suite.scaling.bursts import Burst, oracle_of
from services.benchmarks.suite.simulate import DeploymentSize

POLICY = ScalingPolicy(max_replicas=10, target=10, cooldown=300, stabilization=120)
IDLE = Demand(0, 0.0, 0.0)


def demand(seconds: float) -> Demand:
    return Demand(1, seconds, 0.0)


def decisions(autoscaler: Autoscaler, *seconds: float, start: float = 0.0) -> list[int]:
    """Return the decisions for a demand at each interval."""
    found = []
    for index, each in enumerate(seconds):
        autoscaler.sync(start + index * SYNC_INTERVAL, demand(each) if each else IDLE)
        found.append(autoscaler.replicas)
    return found


def test_the_number_is_the_demand_divided_by_the_target_rounded_up() -> None:
    assert decisions(Autoscaler(POLICY), 1, 11, 35, 80) == [1, 2, 4, 8]


def test_a_deviation_of_a_tenth_changes_nothing_and_the_maximum_holds() -> None:
    assert decisions(Autoscaler(POLICY), 20, 21.9, 22.1, 1000, 1000) == [2, 2, 3, 7, 10]


def test_replicas_end_after_the_stabilization_and_the_last_one_after_the_cooldown() -> None:
    autoscaler = Autoscaler(POLICY)
    found = decisions(autoscaler, 30, *[5] * 10, *[0] * 25)

    assert found[:9] == [3] * 9
    assert found[9:30] == [1] * 21
    assert found[30:] == [0] * 6
    assert 10 * SYNC_INTERVAL + POLICY.cooldown == 30 * SYNC_INTERVAL


def test_the_first_replica_starts_without_a_sync_and_the_minimum_stays() -> None:
    autoscaler = Autoscaler(POLICY)
    autoscaler.activate(7.0)
    assert autoscaler.replicas == 1
    assert decisions(Autoscaler(ScalingPolicy(4, min_replicas=2)), *[0] * 60) == [2] * 60


def test_an_oracle_starts_replicas_before_each_burst_and_ends_them_if_the_next_one_is_far() -> None:
    bursts = [Burst("a", 100, 200, 3), Burst("a", 250, 300, 1), Burst("a", 900, 950, 2)]

    assert oracle_of(bursts, lead=60, linger=30) == [(40, 3), (190, 1), (330, 0), (840, 2), (980, 0)]


def scenario(start_seconds: float = 20.0) -> Scenario:
    """Return one short burst of each modality."""
    modalities = list(TOY.signals)
    costs = MeasuredCosts(
        [0.0],
        TickCosts({1: [0.001], 64: [0.001]}),
        {modality: TickCosts({1: [1.0], 8: [1.0]}) for modality in modalities},
        {modality: [0.0] for modality in modalities},
    )
    policy = ScalingPolicy(max_replicas=3, target=8, cooldown=120, stabilization=30)
    return scenario_of(TOY, costs, DeploymentSize(decoder_slots=2, grain=4), policy, (900.0, 1, 60.0), start_seconds, 1)


def test_replicas_follow_the_bursts_no_request_is_lost_and_equal_seeds_give_equal_results() -> None:
    load = scenario()
    found = {fleet: run_fleet(load, fleet) for fleet in FLEETS}

    assert len(load.requests) > 20
    assert all(trace.succeeded for each in found.values() for trace in each.traces)
    seconds = {fleet: sum(each.replica_seconds.values()) for fleet, each in found.items()}
    assert seconds["fixed"] == len(TOY.independent) * 3 * 900
    assert 0 < seconds["oracle"] < seconds["fixed"]
    assert 0 < seconds["scaled"] < 0.5 * seconds["fixed"]
    assert run_fleet(load, "scaled").replica_seconds == found["scaled"].replica_seconds
    first = {fleet: min(trace.total or 0.0 for trace in each.traces) for fleet, each in found.items()}
    medians = {fleet: median(trace.total or 0.0 for trace in each.traces) for fleet, each in found.items()}
    assert first["fixed"] == pytest.approx(first["oracle"])
    assert medians["fixed"] < medians["scaled"] < medians["fixed"] + 60, "the first requests wait for a replica"
