"""Tests of the stages: an observation and an interval for each, also on other threads and after an error."""

from __future__ import annotations

import itertools
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field

import pytest

from motet.core.telemetry.families.stage_metrics import STAGE_SECONDS
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import (
    Stage,
    StageInterval,
    StageTimer,
    record_stage,
    stage,
    stage_owner,
    use_stage_observer,
)

REQUEST: ContextVar[str] = ContextVar("request", default="")


@dataclass
class Recorder:
    """An observer whose owners are names of requests."""

    intervals: list[StageInterval] = field(default_factory=list)

    def owner(self) -> object:
        return REQUEST.get()

    def observe(self, interval: StageInterval) -> dict[str, str] | None:
        self.intervals.append(interval)
        return {"trace_id": "abc"}


def observed(of: Stage, modality: str = "image") -> tuple[float, float]:
    """Return the number of observations of a stage of a decoder, and their sum."""
    samples = {
        sample.name.removeprefix("motet_stage_duration_seconds_"): sample.value
        for metric in STAGE_SECONDS.collect()
        for sample in metric.samples
        if sample.labels.items() >= {"component": "decoder", "stage": of, "modality": modality}.items()
    }
    return samples.get("count", 0.0), samples.get("sum", 0.0)


def test_a_block_of_code_is_a_stage_also_if_it_fails() -> None:
    recorder = Recorder()
    before, _ = observed(Stage.VAE)
    with use_stage_observer(recorder):
        with stage(ServiceKind.DECODER, Stage.VAE, "image", attributes={"rows": 2}):
            pass
        with pytest.raises(ValueError, match="no latents"), stage(ServiceKind.DECODER, Stage.VAE, "image"):
            raise ValueError("no latents")
    with stage(ServiceKind.DECODER, Stage.VAE, "image"):
        pass

    assert observed(Stage.VAE)[0] - before == 3
    assert [interval.attributes for interval in recorder.intervals] == [{"rows": 2}, {}]
    assert all(interval.start <= interval.end for interval in recorder.intervals)


def test_the_stage_of_another_thread_belongs_to_the_request_that_submitted_it() -> None:
    recorder = Recorder()
    with use_stage_observer(recorder):
        token = REQUEST.set("one")
        owner = stage_owner()
        timer = StageTimer(ServiceKind.DECODER, "image", Stage.BATCH_WAIT)
        REQUEST.reset(token)

        def compute() -> None:
            timer.enter(Stage.DENOISE)
            timer.end()
            record_stage(ServiceKind.DECODER, Stage.VAE, "image", 1.0, 2.0, owner=owner)

        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()

    assert [(each.owner, each.stage) for each in recorder.intervals] == [
        ("one", Stage.BATCH_WAIT),
        ("one", Stage.DENOISE),
        ("one", Stage.VAE),
    ]


def test_the_stages_of_a_timer_have_no_gap_and_one_observation_each() -> None:
    recorder = Recorder()
    stages = (Stage.BATCH_WAIT, Stage.DENOISE)
    before = [observed(each, "audio") for each in stages]
    with use_stage_observer(recorder):
        timer = StageTimer(ServiceKind.DECODER, "audio", Stage.BATCH_WAIT)
        for _ in range(3):
            timer.enter(Stage.DENOISE)
            timer.enter(Stage.DENOISE)
            timer.enter(Stage.BATCH_WAIT)
        assert [observed(each, "audio") for each in stages] == before
        timer.end()
        timer.end()
        timer.enter(Stage.VAE)
    after = [observed(each, "audio") for each in stages]

    intervals = recorder.intervals
    assert [each.stage for each in intervals] == [Stage.BATCH_WAIT, Stage.DENOISE] * 3 + [Stage.BATCH_WAIT]
    assert all(one.end == next_.start for one, next_ in itertools.pairwise(intervals))
    assert [count - old for (count, _), (old, _) in zip(after, before, strict=True)] == [1, 1]
    seconds = sum(total - old for (_, total), (_, old) in zip(after, before, strict=True))
    assert seconds == pytest.approx(intervals[-1].end - intervals[0].start)


def test_an_observer_gives_observations_an_exemplar() -> None:
    with use_stage_observer(Recorder()):
        record_stage(ServiceKind.DECODER, Stage.VAE, "exemplar", 1.0, 1.5)

    exemplars = [
        sample.exemplar.labels
        for metric in STAGE_SECONDS.collect()
        for sample in metric.samples
        if sample.labels.get("modality") == "exemplar" and sample.exemplar
    ]
    assert exemplars == [{"trace_id": "abc"}]
