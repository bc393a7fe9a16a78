"""Tests of memory: what finished work leaves behind is bounded, however much work there is."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from contextlib import aclosing
from itertools import chain, repeat
from uuid import uuid4

import pytest

from motet.core.errors import FaultError, NotFoundError, OverloadedError, Reason
from motet.core.events import Accepted, PartProgress, State
from motet.core.media import Media
from motet.core.workers import Progress
from motet.media.decode import ProbeResult
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder
from orchestrator.artifact_store import ArtifactStore
from orchestrator.quota.limits import QuotaLimits
from tests.orchestrator.pipeline_harness import (
    orchestrator_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    toy_decoders,
)
from tests.waiting import until


async def hang_up(orchestrator, **options):
    """Start a generation, and hang up at its first event."""
    async with aclosing(orchestrator.generate(request_of(request_id=str(uuid4()), **options))) as events:
        assert isinstance((await anext(events)).payload, Accepted)


async def test_hang_ups_leave_no_memory_behind_beyond_the_limits_of_the_store():
    orchestrator = orchestrator_of(script_of("x" * 20, signal_run("a"), Pause()), max_results=10)
    for _ in range(300):
        await hang_up(orchestrator)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(300):
            await hang_up(orchestrator)
        gc.collect()
        growth, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # The ten stored generations replace older ones from before the measurement, and take about 5 KB each.
    assert growth < 150_000


async def test_the_results_in_memory_are_limited_by_their_true_size():
    limit = 200_000
    orchestrator = orchestrator_of(
        script_of(*[signal_run("a")] * 8), max_result_bytes=limit, media_cache_bytes=0, max_artifact_bytes=1
    )
    gc.collect()
    tracemalloc.start()
    try:
        for seed in range(60):
            await run_generation(orchestrator, request_of(seed=seed))
        gc.collect()
        growth, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert growth < 3 * limit


async def stopped_late(orchestrator, request):
    """Cancel a generation when its first part has started."""
    async with aclosing(orchestrator.generate(request)) as events:
        name = (await anext(events)).payload.generation
        await anext(events)
        await orchestrator.cancel(name)


UNSTORED = [
    pytest.param(run_generation, {"quotas": lambda: {"default": QuotaLimits(artifact_bytes=1)}}, id="quota"),
    pytest.param(
        run_generation,
        {"decoders": toy_decoders(a=ToyDecoder("a", fault=InjectedFault(FaultError("broken"), 1)))},
        id="worker",
    ),
    pytest.param(run_generation, {"max_artifact_bytes": 1}, id="store"),
    pytest.param(stopped_late, {"script": script_of("text", signal_run("a"), Pause())}, id="cancelled"),
]


@pytest.mark.parametrize(("run", "options"), UNSTORED)
async def test_a_generation_that_failed_keeps_no_media_of_its_prompt(run, options):
    encoder = ToyEncoder()
    orchestrator = orchestrator_of(**{"script": script_of("text", signal_run("a")), "encoder": encoder, **options})
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(10):
            await run(orchestrator, request_of("text", Media("x/b", b"b" + bytes(500_000))))
        encoder.seen.clear()
        gc.collect()
        growth, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(orchestrator._generations._ended) == 10
    assert growth < 1_000_000  # All prompts have 5 MB.


PLAN = script_of("An a: ", signal_run("a"), " and b: ", signal_run("b"), " The end of the answer.")


async def test_an_ended_generation_takes_few_bytes_and_objects():
    """Before the 28 events of such a plan are packed, a generation takes 14 KB and 105 objects."""
    number = 200
    orchestrator = orchestrator_of(PLAN, media_cache_bytes=0)
    await run_generation(orchestrator)
    tracemalloc.start()
    try:
        for seed in range(number):
            await run_generation(orchestrator, request_of(seed=seed, request_id=str(uuid4())))
        gc.collect()
        objects, (memory, _) = len(gc.get_objects()), tracemalloc.get_traced_memory()
        counted = orchestrator._generations._ended.size * number / (number + 1)
        with pytest.MonkeyPatch.context() as patch:
            after_lifetime = time.time() + 1000
            patch.setattr(time, "time", lambda: after_lifetime)
            assert await orchestrator.generations() == ([], "")
        gc.collect()
        freed, freed_objects = memory - tracemalloc.get_traced_memory()[0], objects - len(gc.get_objects())
    finally:
        tracemalloc.stop()

    assert freed < number * 3000
    assert freed_objects < number * 13
    assert 0.8 * freed < counted < 1.5 * freed


async def name_of_ended(orchestrator):
    """Run a generation while others may run, and return its name."""
    events = [event async for event in orchestrator.generate(request_of())]
    return (await orchestrator.cancel(record_of(events).name)).name


async def test_ended_generations_are_limited_in_bytes_the_oldest_are_removed_first_and_running_ones_stay():
    limit = 100_000
    scripts = chain([script_of("x", Pause())], repeat(PLAN))
    orchestrator = orchestrator_of(lambda prompt: next(scripts), pooled=False, max_result_bytes=limit)
    async with aclosing(orchestrator.generate(request_of())) as running:
        name = (await anext(running)).payload.generation
        await anext(running)
        ended = [await name_of_ended(orchestrator) for _ in range(100)]
        listed = [record.name for record in (await orchestrator.generations(1000))[0]]

    kept = len(listed) - 1
    assert listed == [*reversed(ended[-kept:]), name]
    assert limit / 3000 < kept < limit / 1500
    assert limit - 3000 < orchestrator._generations._ended.size <= limit


async def test_the_store_of_generations_forgets_the_times_of_removed_generations():
    orchestrator = orchestrator_of(max_results=3)
    for seed in range(10):
        await run_generation(orchestrator, request_of(seed=seed))

    assert len(orchestrator._generations._expiries) == 3


async def test_the_number_of_small_artifacts_is_limited():
    artifacts = ArtifactStore(60, 2**20).of("tenant")
    names = [(await artifacts.keep("a", Media("x/a", b"x")))[0].name for _ in range(1100)]

    def is_stored(name):
        try:
            return artifacts.find(name)
        except NotFoundError:
            return None

    assert sum(map(bool, map(is_stored, names))) == 1024
    assert len(artifacts.store._expiries) == 1024
    artifacts.delete(names[-1])
    assert len(artifacts.store._expiries) == 1023


class PreviewDecoder(ToyDecoder):
    """A decoder with a preview of 100 kB in each of 100 steps, and media of 900 kB."""

    async def decode(self, job, deadline):
        for step in range(1, 101):
            yield Progress(step, 100, Media("x/a", bytes(100_000)))
        yield Media("x/a", bytes(900_000))


async def test_the_events_of_a_generation_are_limited_and_the_answer_is_complete():
    script = script_of("text ", *[signal_run("a")] * 3, " end")
    orchestrator = orchestrator_of(script, toy_decoders(a=PreviewDecoder("a")), max_event_bytes=2_000_000)

    events = await run_generation(orchestrator)
    record = record_of(events)

    progress = [event.payload for event in events if isinstance(event.payload, PartProgress)]
    assert len(progress) == 300
    assert 0 < sum(len(each.preview.data) for each in progress if each.preview) <= 1_000_000
    assert record.state is State.SUCCEEDED
    for part in record.parts:
        if part.artifact is not None:
            assert sum([len(chunk) async for chunk in orchestrator.download(part.artifact.name)]) == 900_000


async def test_a_model_that_fills_the_events_with_text_is_stopped():
    orchestrator = orchestrator_of(script_of("x" * 100_000), max_event_bytes=200_000, text_interval=0)

    events = await run_generation(orchestrator)

    assert record_of(events).error.reason is Reason.LIMIT_EXCEEDED
    (task,) = orchestrator._generations._tasks.values()
    assert 200_000 <= task.log.size_bytes < 210_000


async def test_requests_that_are_being_admitted_take_the_places_of_generations():
    probing, may_end = [], asyncio.Event()

    async def slow_probe(media, tenant=""):
        probing.append(media)
        await may_end.wait()
        return ProbeResult("x/a", "a")

    orchestrator = orchestrator_of(max_generations=5)
    orchestrator._admission._probe = slow_probe
    request = request_of(Media("x/a", b"a"))
    tasks = [asyncio.create_task(run_generation(orchestrator, request)) for _ in range(20)]
    await until(lambda: sum(task.done() for task in tasks) >= 15)

    assert len(probing) <= 5
    may_end.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [result for result in results if isinstance(result, OverloadedError)]
    assert len(refused) == 20 - len(probing)
    assert not orchestrator._generations._admitting_of
