"""Tests of the busy seconds of batches: the CPU's, and those of a toy GPU that is behind its CPU."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from unittest.mock import ANY

import pytest

from motet.core.telemetry.busy_meter import BusyMeter, DeviceEvents, Share
from motet.core.telemetry.compute_time import ComputeTime, ComputeTimes
from motet.core.telemetry.families.busy_metrics import CPU_BUSY_SECONDS, GPU_BUSY_SECONDS
from motet.core.telemetry.service_kind import ServiceKind

_UUIDS = itertools.count()


class ToyGpu:
    """A GPU that reaches its events only when `finish` is called. `work` queues milliseconds of work."""

    def __init__(self) -> None:
        self.queued = 0.0
        self.finished = 0.0
        self.events = 0

    def event(self) -> ToyEvent:
        self.events += 1
        return ToyEvent(self)

    def work(self, milliseconds: float) -> None:
        self.queued += milliseconds

    def finish(self) -> None:
        self.finished = self.queued


@dataclass
class ToyEvent:
    """An event of a toy GPU."""

    gpu: ToyGpu
    at: float | None = None

    def record(self) -> None:
        self.at = self.gpu.queued

    def query(self) -> bool:
        return self.at is not None and self.at <= self.gpu.finished

    def elapsed_time(self, end_event: ToyEvent) -> float:
        # Like CUDA, refuse the times of an event that the GPU has not passed.
        assert self.query()
        assert end_event.query()
        assert self.at is not None
        assert end_event.at is not None
        return end_event.at - self.at


def busy(family: object, **labels: str) -> Mapping[str, float]:
    """Return the seconds of a family by modality, for samples with these labels."""
    return {
        sample.labels["modality"]: sample.value
        for metric in family.collect()  # type: ignore[attr-defined]
        for sample in metric.samples
        if sample.labels.items() >= labels.items()
    }


def gpu_meter() -> tuple[BusyMeter, ToyGpu, str]:
    gpu, uuid = ToyGpu(), f"GPU-toy-{next(_UUIDS)}"
    return BusyMeter(ServiceKind.ENCODER, ["image"], DeviceEvents(gpu.event, uuid)), gpu, uuid


def test_the_gpu_seconds_of_a_batch_are_divided_between_its_items_by_weight() -> None:
    meter, gpu, uuid = gpu_meter()
    picture, clip = ComputeTime(), ComputeTime()
    gpu.finish()
    with meter.measure([Share("image", picture), Share("video", clip, 3.0)]):
        gpu.work(400)
    gpu.finish()
    meter.collect()

    assert (picture.gpu, clip.gpu) == (pytest.approx(0.1), pytest.approx(0.3))
    assert busy(GPU_BUSY_SECONDS, gpu_uuid=uuid) == {"image": pytest.approx(0.1), "video": pytest.approx(0.3)}


def test_a_batch_that_the_gpu_has_not_finished_counts_later_and_nothing_waits_for_it() -> None:
    meter, gpu, uuid = gpu_meter()
    first, second = ComputeTime(), ComputeTime()
    with meter.measure([Share("image", first)]):
        gpu.work(100)
    with meter.measure([Share("image", second)]):
        gpu.work(200)
    meter.collect()
    assert (first.gpu, second.gpu) == (0, 0)
    gpu.finish()
    meter.collect()
    meter.collect()

    assert (first.gpu, second.gpu) == (pytest.approx(0.1), pytest.approx(0.2))
    assert busy(GPU_BUSY_SECONDS, gpu_uuid=uuid) == {"image": pytest.approx(0.3)}


def test_a_piece_of_work_knows_the_mean_size_of_its_batches() -> None:
    meter, _, _ = gpu_meter()
    picture, clip = ComputeTime(), ComputeTime()
    for shares in ([Share("image", picture)], [Share("image", picture), Share("video", clip), Share("text", clip)]):
        with meter.measure(shares):
            pass

    assert (picture.mean_batch_size, clip.mean_batch_size, ComputeTime().mean_batch_size) == (1.5, 2.0, 0.0)


def test_work_between_batches_is_not_counted_and_events_are_used_again() -> None:
    meter, gpu, uuid = gpu_meter()
    for _ in range(50):
        with meter.measure([Share("image", ComputeTime())]):
            gpu.work(10)
        gpu.work(1000)
        gpu.finish()
        meter.collect()

    assert busy(GPU_BUSY_SECONDS, gpu_uuid=uuid) == {"image": pytest.approx(0.5)}
    assert gpu.events == 2


def test_a_failed_batch_counts_too() -> None:
    meter, gpu, uuid = gpu_meter()
    with suppress(ValueError), meter.measure([Share("image", ComputeTime())]):
        gpu.work(100)
        raise ValueError("the network failed")
    gpu.finish()
    meter.collect()

    assert busy(GPU_BUSY_SECONDS, gpu_uuid=uuid) == {"image": pytest.approx(0.1)}


def test_without_a_gpu_the_cpu_time_of_the_thread_counts_and_sleep_does_not() -> None:
    meter = BusyMeter(ServiceKind.DECODER, ["toy"])
    before = busy(CPU_BUSY_SECONDS, component="decoder").get("toy", 0.0)
    spent = ComputeTime()

    def run() -> None:
        with meter.measure([Share("toy", spent), Share("toy", ComputeTime())]):
            end = time.thread_time() + 0.02
            while time.thread_time() < end:
                pass
            time.sleep(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    seconds = busy(CPU_BUSY_SECONDS, component="decoder")["toy"] - before
    assert 0.02 <= seconds < 0.045
    assert spent.cpu == pytest.approx(seconds / 2)
    assert spent.gpu == 0


def test_the_seconds_of_each_modality_begin_at_0() -> None:
    _, _, uuid = gpu_meter()
    BusyMeter(ServiceKind.DECODER, ["begun"])

    assert busy(GPU_BUSY_SECONDS, gpu_uuid=uuid) == {"image": 0}
    assert busy(CPU_BUSY_SECONDS, component="decoder")["begun"] == 0


def test_the_items_of_several_requests_get_the_whole_time_of_their_batches_and_no_more() -> None:
    meter, gpu, uuid = gpu_meter()
    requests = [ComputeTimes() for _ in range(3)]
    jobs = [
        Share(modality, request.start(ServiceKind.ENCODER, modality), weight)
        for request, modality, weight in zip(
            [*requests, requests[0]], ["image", "image", "audio", "audio"], [1, 2, 3, 1], strict=True
        )
    ]
    for batch, milliseconds in ((jobs, 700), (jobs[:2], 300), (jobs[2:], 80)):
        with meter.measure(batch):
            gpu.work(milliseconds)
    gpu.finish()
    meter.collect()

    totals = [request.totals() for request in requests]
    assert sum(time.gpu for total in totals for time in total.values()) == pytest.approx(1.08)
    assert totals[1] == {(ServiceKind.ENCODER, "image"): ComputeTime(pytest.approx(0.4), ANY, 2, 6)}
    assert busy(GPU_BUSY_SECONDS, gpu_uuid=uuid) == {"image": pytest.approx(0.6), "audio": pytest.approx(0.48)}
