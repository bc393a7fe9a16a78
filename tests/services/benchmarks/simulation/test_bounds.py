"""The bounds of simulated workers: exact for simple costs, and never exceeded by a simulation."""

from __future__ import annotations

import random

import pytest

from motet.toys.manifest import TOY
from services.benchmarks.simulation.bounds import request_bounds
from services.benchmarks.simulation.measured_costs import MeasuredCosts, TickCosts
from services.benchmarks.suite.simulate import DeploymentSize, multi_tenant_load, simulate
from services.benchmarks.tracing.spans import LANGUAGE_MODEL

IMAGE, *_ = TOY.independent
STEPS = TOY.decoder_of(IMAGE).steps
# A batch of four takes twice as long as a single step, so it does twice as much in a second.
COSTS = MeasuredCosts(
    [0.0],
    TickCosts({1: [0.01], 8: [0.01]}),
    {name: TickCosts({1: [0.1], 4: [0.2]}) for name in TOY.independent},
    {name: [0.0] for name in TOY.independent},
)


def bounds(prompts: list[str], size: DeploymentSize) -> dict[str, float]:
    return dict(request_bounds(TOY, COSTS, prompts, size.replicas_of, size.slots_of))


def test_a_bound_is_the_rate_of_the_best_batch_of_all_replicas() -> None:
    size = DeploymentSize({IMAGE: 3}, decoder_slots=4, model_slots=8)

    assert bounds([f"19 {IMAGE}", "20"], size) == pytest.approx(
        {LANGUAGE_MODEL: 8 / (20 * 0.01), IMAGE: 3 * 2 * 4 / (STEPS * 0.2)}
    )


def test_a_worker_without_slots_for_a_batch_has_the_bound_of_single_calls() -> None:
    size = DeploymentSize(decoder_slots=1)

    assert bounds([IMAGE], size)[IMAGE] == pytest.approx(1 / (STEPS * 0.1))


@pytest.mark.parametrize("factor", [0.8, 4.0])
def test_a_simulation_serves_no_more_than_the_lowest_bound(factor: float) -> None:
    size = DeploymentSize({IMAGE: 2}, decoder_slots=4, grain=1)
    load = multi_tenant_load([IMAGE], 40, 5, 1.0, 8, 1, 1.0, random.Random(0))
    lowest = min(bounds([each.text for each in load], size).values())
    load = multi_tenant_load([IMAGE], factor * lowest, 200 / lowest, 1.0, 8, 1, 1.0, random.Random(0))

    result = simulate(TOY, COSTS, size, load, queue_seconds=1e6)

    served = sum(trace.succeeded for trace in result.traces) / result.seconds
    assert 0.6 * min(1, factor) * lowest < served <= lowest * 1.0001
