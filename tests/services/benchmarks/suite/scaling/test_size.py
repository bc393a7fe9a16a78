"""Sizes of deployments: every part is in time, and no replica is superfluous."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from motet.core.errors import SettingsError
from motet.toys.manifest import TOY
from services.benchmarks.load.client_trace import ClientTrace, PartTrace
from services.benchmarks.reports.report import Figure
from services.benchmarks.simulation.measured_costs import RECORDED_COSTS
from services.benchmarks.suite.scaling.size import idle_latencies, late_kinds, measure, smallest_size
from services.benchmarks.suite.simulate import DeploymentSize, SimulationResult, multi_tenant_load, simulate
from services.benchmarks.tracing.spans import LANGUAGE_MODEL
from tests.services.benchmarks.suite.test_simulate import FIRST, MODALITIES, costs

ONE_EACH = DeploymentSize(dict.fromkeys((LANGUAGE_MODEL, *MODALITIES), 1), decoder_slots=1, grain=1)


def run(size: DeploymentSize) -> SimulationResult:
    """Simulate two requests a second, each with one modality. A replica finishes one part a second."""
    load = multi_tenant_load(MODALITIES[:1], 2, 8, 1.0, 4, 1, 1.0, random.Random(0))
    return simulate(TOY, costs(), size, load)


def test_the_smallest_size_keeps_the_limits_and_one_replica_less_does_not() -> None:
    limits = {LANGUAGE_MODEL: 0.002, FIRST: 2.0}

    size, _ = smallest_size(run, ONE_EACH, limits, 0.95)

    assert late_kinds(run(size).traces, limits, 0.95) == []
    assert size.replicas_of(LANGUAGE_MODEL) == 1
    assert size.replicas_of(FIRST) >= 2
    fewer = replace(size, replicas={**size.replicas, FIRST: size.replicas_of(FIRST) - 1})
    assert late_kinds(run(fewer).traces, limits, 0.95) == [FIRST]


def test_the_latencies_of_an_idle_deployment_are_those_of_its_workers() -> None:
    latencies = idle_latencies(TOY, costs(), ONE_EACH, 0.1, 4, 0)

    assert latencies[LANGUAGE_MODEL] == pytest.approx(0.001)
    # Most requests with a picture have two tokens of text before it, and no other media.
    assert latencies[FIRST] == pytest.approx(1.003, abs=0.002)


def test_a_limit_that_no_size_keeps_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.benchmarks.suite.scaling.size.MAX_REPLICAS", 3)

    with pytest.raises(SettingsError, match=f"3 replicas of {FIRST} are too few: allow more slack"):
        smallest_size(run, ONE_EACH, {FIRST: 0.5}, 0.95)


def test_a_part_that_did_not_complete_is_late() -> None:
    complete = ClientTrace(0, first_text=1, parts={"a": PartTrace("image", 0, 2)})
    failed = ClientTrace(0, parts={"a": PartTrace("image", 0)})
    limits = {LANGUAGE_MODEL: 1.0, "image": 2.0, "audio": 0.0}

    assert late_kinds([complete] * 9 + [failed], limits, 0.9) == []
    assert late_kinds([complete] * 9 + [failed], limits, 0.95) == [LANGUAGE_MODEL, "image"]


def test_a_report_has_the_replicas_and_the_cost_of_each_rate() -> None:
    options = {"media": 0.5, "tokens": 60, "width": 4, "slack": 2, "share": 0.9, "requests": 20, "grain": 5, "seed": 0}

    report = measure([2.0, 0.01], "nano", RECORDED_COSTS, price={"image": 3.6}, **options)

    assert [figure.name for figure in report.figures if "replicas of video" in figure.name] == [
        "at 0.01/s: replicas of video",
        "at 2/s: replicas of video",
    ]
    images = report.figure("at 2/s: replicas of image").value
    assert report.figure("at 2/s: cost of an hour").value == pytest.approx(3.6 * images)
    assert report.figure("at 2/s: cost of 1,000 requests") == Figure(
        "at 2/s: cost of 1,000 requests", pytest.approx(0.5 * images), ""
    )
    assert report.details["replicas"]["0.01"] == dict.fromkeys((LANGUAGE_MODEL, "image", "video", "audio"), 1)
    with pytest.raises(SettingsError, match="no replicas of smell"):
        measure([1.0], "nano", RECORDED_COSTS, price={"smell": 1}, **options)
