"""Simulations: queues behave as theory says, and the same seed plays the same."""

from __future__ import annotations

import random
import time

import pytest

from motet.core.errors import SettingsError
from motet.toys.manifest import TOY
from services.benchmarks.load.open_loop import Due, poisson
from services.benchmarks.reports.statistics import percentile
from services.benchmarks.simulation.measured_costs import Costs, Curve
from services.benchmarks.suite.simulate import Size, check, digest_of, load_of, measure, simulate

MODALITIES = list(TOY.signals)
STEPS = TOY.decoder_of(MODALITIES[0]).steps
FIRST = MODALITIES[0]


def costs(token: float = 0.001, step: float = 0.25, finish: float = 0.0) -> Costs:
    """Of workers that take the same whoever shares them."""
    sizes = {1: [step], 8: [step]}
    return Costs(
        [0.0],
        Curve({1: [token], 64: [token]}),
        {modality: Curve(sizes) for modality in MODALITIES},
        {modality: [finish] for modality in MODALITIES},
    )


def test_a_request_alone_takes_what_its_workers_take() -> None:
    played = simulate(TOY, costs(token=0.1, finish=0.5), Size(grain=1), [Due(5, f"4 {FIRST} 4", 1)])

    (heard,) = played.heard
    assert heard.whole
    assert heard.first_text == pytest.approx(0.1)
    # Five tokens until the signal, four steps of a quarter of a second, and half a second to finish.
    assert heard.total == pytest.approx(0.5 + STEPS * 0.25 + 0.5, abs=1e-6)
    assert sum(played.busy[FIRST]) == pytest.approx(STEPS * 0.25)


def test_steps_are_shared_by_those_who_come_together() -> None:
    due = [Due(0, FIRST, seed) for seed in range(4)]
    together = simulate(TOY, costs(), Size(width=4, grain=1), due)
    apart = simulate(TOY, costs(), Size(width=1, grain=1), due)

    assert max(one.total or 0 for one in together.heard) == pytest.approx(1.001, abs=1e-3)
    assert max(one.total or 0 for one in apart.heard) == pytest.approx(4.001, abs=1e-3)


def test_waiting_is_as_long_as_queueing_theory_says() -> None:
    # One worker, service of one second, random arrivals at 70 % load: M/D/1 waits rho / (2 (1 - rho)) on average.
    due = poisson(0.7, 4000, [FIRST], random.Random(2))

    played = simulate(TOY, costs(token=1e-9), Size(width=1, grain=STEPS), due, queue_seconds=1e6)

    waits = [(one.total or 0) - 1 for one in played.heard]
    assert sum(waits) / len(waits) == pytest.approx(0.7 / (2 * 0.3), rel=0.15)
    assert sum(played.busy[FIRST]) / played.seconds == pytest.approx(0.7, rel=0.05)


def test_replicas_share_the_work_evenly() -> None:
    due = poisson(3, 200, [FIRST], random.Random(2))

    played = simulate(TOY, costs(), Size({FIRST: 4}, width=1, grain=STEPS), due)

    assert max(played.busy[FIRST]) < 1.4 * min(played.busy[FIRST])
    assert all(one.whole for one in played.heard)


def test_too_much_work_is_refused_at_once_and_the_rest_is_done() -> None:
    due = poisson(4, 60, [FIRST], random.Random(2))

    played = simulate(TOY, costs(), Size(width=1, grain=STEPS), due, queue_seconds=5)

    refused = [one for one in played.heard if not one.whole]
    assert {one.refused for one in refused} == {"QUEUE_FULL"}
    assert len(refused) > 100
    assert max(one.total or 0 for one in played.heard if one.whole) < 10


def test_a_greedy_tenant_waits_for_itself() -> None:
    due = load_of([FIRST], 1.5, 200, 1.0, 1, 3, 0.8, random.Random(4))

    played = simulate(TOY, costs(), Size(width=1, grain=STEPS), due, queue_seconds=1000)

    totals: dict[bool, list[float]] = {True: [], False: []}
    for one, heard in zip(due, played.heard, strict=True):
        totals[one.tenant == "tenant-0"].append(heard.total or 0)
    assert percentile(totals[False], 95) < 6
    assert percentile(totals[True], 95) > 50


def test_the_same_seed_plays_the_same_and_another_does_not() -> None:
    jittery = Costs(
        [0.1, 0.2], Curve({1: [0.01, 0.03]}), {m: Curve({1: [0.1, 0.3]}) for m in MODALITIES}, costs().finish
    )

    def digest(seed: int) -> str:
        due = load_of(MODALITIES, 2, 30, 0.5, 20, 3, 0.5, random.Random(seed))
        return digest_of(simulate(TOY, jittery, Size(), due, seed=seed).heard)

    assert digest(1) == digest(1) != digest(2)


def test_an_hour_passes_in_seconds() -> None:
    due = poisson(0.2, 3600, [f"5 {FIRST}"], random.Random(0))
    begun = time.monotonic()

    played = simulate(TOY, costs(), Size(), due)

    assert played.seconds > 3000
    assert time.monotonic() - begun < 30


def test_sizes_of_what_there_is_not_are_refused() -> None:
    with pytest.raises(SettingsError, match="no replicas of smell"):
        check(TOY, costs(), Size({"smell": 2}))
    with pytest.raises(SettingsError, match="calibrate with this bundle"):
        check(TOY, Costs([0.1], Curve({1: [0.1]}), {}, {}), Size())


def test_the_shipped_costs_simulate_the_shipped_bundle() -> None:
    report = measure(rate=1, minutes=0.5)

    assert report.figure("answers that came whole").value == 100
    assert report.figure("simulated seconds per second").value > 1
