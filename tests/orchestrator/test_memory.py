"""Tests of memory: what finished work leaves behind is bounded, however much work there is."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import aclosing
from uuid import uuid4

from motet.core.errors import NotFoundError
from motet.core.events import Accepted
from motet.core.media import Media
from motet.toys.workers import Pause
from orchestrator.artifact_store import ArtifactStore
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of, run_generation, script_of, signal_run


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
