"""Tests of the compute times that tasks collect."""

from __future__ import annotations

import asyncio

from motet.core.telemetry.compute_time import ComputeTime, ComputeTimes, collect_compute_times, current_compute_times
from motet.core.telemetry.service_kind import ServiceKind


async def test_a_task_collects_its_own_compute_times_and_those_of_the_tasks_that_it_starts() -> None:
    async def work(modality: str, seconds: float) -> None:
        time = current_compute_times().start(ServiceKind.DECODER, modality)
        time.gpu, time.cpu = seconds, 1.0

    async def request(seconds: float) -> ComputeTimes:
        times = collect_compute_times()
        await asyncio.gather(work("image", seconds), work("image", seconds), work("audio", seconds))
        return times

    one, other = await asyncio.gather(request(1.0), request(2.0))

    assert one.totals() == {
        (ServiceKind.DECODER, "image"): ComputeTime(2.0, 2.0),
        (ServiceKind.DECODER, "audio"): ComputeTime(1.0, 1.0),
    }
    assert other.totals() == {
        (ServiceKind.DECODER, "image"): ComputeTime(4.0, 2.0),
        (ServiceKind.DECODER, "audio"): ComputeTime(2.0, 1.0),
    }


async def test_the_time_of_work_that_still_runs_is_known_and_work_without_seconds_is_left_out() -> None:
    times = collect_compute_times()
    running = current_compute_times().start(ServiceKind.DECODER, "image")
    current_compute_times().start(ServiceKind.DECODER, "audio")
    running.gpu += 1.0
    assert times.totals() == {(ServiceKind.DECODER, "image"): ComputeTime(1.0)}
    running.gpu += 1.0

    assert times.totals() == {(ServiceKind.DECODER, "image"): ComputeTime(2.0)}


async def test_work_outside_of_a_request_is_not_collected() -> None:
    current_compute_times().start(ServiceKind.DECODER, "image").gpu = 1.0

    assert collect_compute_times().totals() == {}
