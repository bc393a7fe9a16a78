"""The stages of requests, computed from spans."""

from __future__ import annotations

import pytest

from orchestrator.generation.pipeline import seed_of
from services.benchmarks.tracing.critical_path import DecodeStage, RequestStages
from services.benchmarks.tracing.request_stages import spans_by_request, stages_of
from services.benchmarks.tracing.spans import LANGUAGE_MODEL, WorkerSpan


def test_spans_are_grouped_by_request() -> None:
    responses = {seed: WorkerSpan(LANGUAGE_MODEL, seed, 0, 2, 2, signals=(("a", 1.0),)) for seed in (5, 6)}
    # Text is part 0, so the media are part 1.
    decodes = {seed: WorkerSpan("a", seed_of(seed, "part-1"), 1, 4, 3) for seed in (5, 6)}
    unrelated = WorkerSpan("a", 77, 1, 4, 3)

    grouped = spans_by_request([*decodes.values(), unrelated, *responses.values()], [5, 6])

    assert grouped == {seed: [responses[seed], decodes[seed]] for seed in (5, 6)}
    assert stages_of(grouped[5]) == RequestStages(0, 2, (DecodeStage("a", 1.0, 3),))


def test_the_stages_of_a_request_have_the_edges_of_its_plan() -> None:
    signals = (("a", 1.0), ("b", 1.5), ("c", 2.0))
    spans = [WorkerSpan(LANGUAGE_MODEL, 5, 0, 3, 3, signals=signals)]
    spans += [WorkerSpan(worker, 1, start, start + 2, 2) for worker, start in (("a", 1), ("b", 1.5), ("c", 3.5))]

    stages = stages_of(spans, {"c": [["b"], ["a", "v"]]})

    assert [stage.needs for stage in stages.decodes] == [(), (), (1, 0)]
    assert stages.bound == 5.5


def test_a_request_with_a_cancelled_worker_has_no_stages() -> None:
    response = WorkerSpan(LANGUAGE_MODEL, 5, 0, 2, 2, signals=(("a", 1.0),))

    with pytest.raises(ValueError, match="decoder of a did not finish"):
        stages_of([response, WorkerSpan("a", 1, 1, 2, 1, finished=False)])
    with pytest.raises(ValueError, match="language model"):
        stages_of([])
