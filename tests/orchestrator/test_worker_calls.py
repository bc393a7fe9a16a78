"""The calls to workers in the record of a generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from motet.answers.timeline import Timeline, timeline_of
from motet.core.deadline import Deadline
from motet.core.events import CallSource, Event, PlanGrown, State
from motet.core.media import Media
from motet.core.telemetry.compute_time import current_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.workers import DecodeJob, Progress
from motet.toys.workers import Pause, ToyDecoder
from tests.orchestrator.edges import edge_orchestrator, plan_of
from tests.orchestrator.pipeline_harness import payloads_of, record_of, request_of, run_generation, wait_idle
from tests.waiting import in_virtual_time

SLOW = {name: ToyDecoder(name, media_type=f"x/{name}", steps=1, delay=1.0) for name in "abcd"}


def timeline_of_events(events: list[Event]) -> Timeline:
    return timeline_of(record_of(events), payloads_of(events, PlanGrown)[-1].nodes)


@in_virtual_time
async def test_the_record_has_the_times_of_each_call_and_they_explain_the_whole_generation() -> None:
    orchestrator = edge_orchestrator(SLOW, script=lambda prompt: [*plan_of(prompt), Pause(1.5), ord("-")])

    events = await run_generation(orchestrator, request_of(Media("x/v", b"clip"), "abcd"))

    timeline = timeline_of_events(events)
    times = {node.name.partition(" ")[0]: (node.input_wait, node.work) for node in timeline.nodes}
    assert list(times)[:2] == ["encoder", "llm"]
    assert {name: times[name] for name in "abcd"} == {
        "a": pytest.approx((0.0, 1.0), abs=0.05),
        "b": pytest.approx((0.0, 1.0), abs=0.05),
        "c": pytest.approx((1.0, 1.0), abs=0.05),
        "d": pytest.approx((2.0, 1.0), abs=0.05),
    }
    assert times["llm"][1] == pytest.approx(1.5, abs=0.05)
    critical = [node.name.partition(" ")[0] for node in timeline.nodes if node.critical]
    assert critical == ["encoder", "llm", "a", "c", "d"]
    assert timeline.explained >= 0.95
    assert timeline.elapsed == pytest.approx(3.0, abs=0.1)


async def test_media_of_the_cache_and_of_an_equal_running_call_are_marked() -> None:
    orchestrator = edge_orchestrator()

    first = timeline_of_events(await run_generation(orchestrator, request_of("a")))
    again = timeline_of_events(await run_generation(orchestrator, request_of("a")))

    assert [node.source for node in first.nodes] == [CallSource.WORKER] * 2
    assert [node.source for node in again.nodes] == [CallSource.WORKER, CallSource.CACHE]
    assert again.nodes[1].attempts == 0


@in_virtual_time
async def test_an_equal_call_that_runs_already_is_shared() -> None:
    orchestrator = edge_orchestrator(SLOW)

    both = await asyncio.gather(*(run_generation(orchestrator, request_of("a")) for _ in range(2)))

    sources = {timeline_of_events(events).nodes[-1].source for events in both}
    assert sources == {CallSource.WORKER, CallSource.SHARED}


@in_virtual_time
async def test_a_running_generation_has_its_calls_until_now_and_a_cancelled_one_keeps_them() -> None:
    orchestrator = edge_orchestrator(SLOW)

    async with aclosing(orchestrator.generate(request_of("ac", detach=True))) as events:
        name = (await anext(events)).payload.generation  # type: ignore[union-attr]
    await asyncio.sleep(0.5)
    running = await orchestrator.get(name)
    await orchestrator.cancel(name)
    await wait_idle(orchestrator)
    cancelled = await orchestrator.get(name)

    assert running.state is State.RUNNING
    assert [(call.component, call.end is None) for call in running.calls] == [("llm", False), ("decoder", True)]
    assert cancelled.state is State.CANCELLED
    assert [call.end for call in cancelled.calls] == [call.end for call in running.calls]


class MeasuredDecoder(ToyDecoder):
    """A decoder that takes 1 CPU second per step. Its batches have `items` items."""

    def __init__(self, modality: str, items: int, steps: int) -> None:
        super().__init__(modality, media_type=f"x/{modality}", steps=steps)
        self.items = items

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        time = current_compute_times().start(ServiceKind.DECODER, job.modality)
        async for event in super().decode(job, deadline):
            if isinstance(event, Progress):
                time.cpu, time.batches, time.batch_items = event.step, event.step, event.step * self.items
            yield event


async def test_each_call_has_its_own_compute_time_and_mean_batch_size() -> None:
    orchestrator = edge_orchestrator({"a": MeasuredDecoder("a", 3, 2), "b": MeasuredDecoder("b", 1, 5)})

    first = timeline_of_events(await run_generation(orchestrator, request_of("aab")))
    again = timeline_of_events(await run_generation(orchestrator, request_of("aab")))

    assert [(node.compute, node.mean_batch_size) for node in first.nodes] == [(0, 0), (2, 3), (2, 3), (5, 1)]
    assert [(node.compute, node.mean_batch_size) for node in again.nodes] == [(0, 0)] * 4
