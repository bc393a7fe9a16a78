"""The least time of requests and loads."""

from __future__ import annotations

import random

from services.benchmarks.tracing.critical_path import (
    DecodeStage,
    RequestStages,
    TracedArrival,
    ideal_ends,
    system_bound,
)
from services.benchmarks.tracing.spans import LANGUAGE_MODEL

SLOTS = {LANGUAGE_MODEL: 8, "a": 1, "b": 1}


def test_the_bound_is_the_longest_chain() -> None:
    stages = RequestStages(1, 10, (DecodeStage("a", 2, 3), DecodeStage("b", 9, 4)))

    assert stages.bound == 1 + 9 + 4
    assert stages.critical == [DecodeStage("b", 9, 4)]
    assert stages.barrier == 1 + 10 + 4
    assert stages.sequential == 1 + 10 + 3 + 4


def test_the_language_model_alone_can_be_the_longest_chain() -> None:
    stages = RequestStages(0, 10, (DecodeStage("a", 2, 3),))

    assert stages.bound == 10
    assert stages.critical == []
    assert RequestStages(0, 10).barrier == 10


def test_a_decode_starts_after_its_inputs_and_its_signal() -> None:
    decodes = (
        DecodeStage("a", 1, 4),
        DecodeStage("b", 2, 1),
        DecodeStage("c", 3, 2, needs=(0, 1)),
        DecodeStage("d", 9, 1, needs=(2,)),
    )
    stages = RequestStages(1, 4, decodes)

    assert stages.starts == [1, 2, 5, 9]
    assert stages.ends == [5, 3, 7, 10]
    assert stages.bound == 1 + 10
    assert stages.barrier == 1 + 4 + 4 + 2 + 1
    assert stages.critical == [decodes[3]]
    assert RequestStages(1, 4, decodes[:3]).critical == [decodes[2], decodes[0]]
    slots = SLOTS | {"c": 1, "d": 1}
    assert ideal_ends([TracedArrival(100, stages)], slots) == [100 + stages.bound]
    assert system_bound([TracedArrival(0, stages)], slots) == stages.bound


def test_the_ideal_schedule_is_first_come_first_served() -> None:
    # Both requests need the only worker of "a", one second after the start of the language model, for four seconds.
    load = [TracedArrival(at, RequestStages(0, 2, (DecodeStage("a", 1, 4),))) for at in (0, 1)]

    assert ideal_ends(load, SLOTS) == [5, 9]
    assert ideal_ends(load, SLOTS | {"a": 2}) == [5, 6]


def test_the_ideal_end_of_a_single_request_is_its_bound() -> None:
    stages = RequestStages(1, 10, (DecodeStage("a", 2, 3), DecodeStage("b", 9, 4)))

    assert ideal_ends([TracedArrival(100, stages)], SLOTS) == [100 + stages.bound]


def test_no_schedule_beats_the_system_bound() -> None:
    rng = random.Random(1)

    def random_stages() -> RequestStages:
        decodes = (DecodeStage(rng.choice("ab"), rng.uniform(0, 3), rng.uniform(0, 5)) for _ in range(2))
        return RequestStages(0, 3, tuple(decodes))

    for _ in range(50):
        load = [TracedArrival(rng.uniform(0, 20), random_stages()) for _ in range(12)]

        assert system_bound(load, SLOTS) <= max(ideal_ends(load, SLOTS)) + 1e-9


def test_the_system_bound_is_the_work_of_the_busiest_pool() -> None:
    load = [TracedArrival(0, RequestStages(0, 1, (DecodeStage("a", 1, 10),))) for _ in range(3)]

    assert system_bound(load, SLOTS) == 1 + 30
    assert system_bound(load, SLOTS | {"a": 3}) == 1 + 10
