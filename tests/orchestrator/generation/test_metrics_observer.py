"""Tests of the metrics of generations."""

from __future__ import annotations

from contextlib import aclosing

from prometheus_client import REGISTRY

from motet.core.errors import FaultError, RetryableError
from motet.core.events import PartProgress
from motet.core.media import Media
from motet.core.telemetry.compute_time import current_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.workers import Finished, Progress, Signal
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, tensor_of
from tests.orchestrator.pipeline_harness import (
    orchestrator_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    toy_decoders,
    wait_idle,
)

SCRIPT = script_of("An a: ", signal_run("a"), " and b: ", signal_run("b"))


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Difference:
    """The change of a metric since this object was created."""

    def __init__(self, name, **labels):
        self.name, self.labels = name, labels
        self.before = value(name, **labels)

    @property
    def by(self):
        return value(self.name, **self.labels) - self.before


async def test_parts_steps_tokens_and_bytes_are_counted_by_modality():
    expected = {
        Difference("motet_parts_total", modality="a", reason="", fault=""): 1,
        Difference("motet_parts_total", modality="b", reason="WORKER_FAULT", fault="server"): 1,
        Difference("motet_parts_total", modality="text", reason="", fault=""): 2,
        Difference("motet_denoising_steps_total", modality="a"): 2,
        Difference("motet_llm_tokens_total", direction="output"): len(SCRIPT),
        Difference("motet_media_bytes_total", modality="a", direction="output"): 64,
        Difference("motet_media_bytes_total", modality="b", direction="input"): 5,
        Difference("motet_generation_duration_seconds_count", state="partial"): 1,
        Difference("motet_time_to_first_text_seconds_count"): 1,
        Difference("motet_media_job_duration_seconds_count", modality="a"): 1,
        Difference("motet_generations_running"): 0,
        Difference("motet_media_jobs_running", modality="a"): 0,
    }
    broken = ToyDecoder("b", fault=InjectedFault(FaultError("broken")))

    await run_generation(orchestrator_of(SCRIPT, toy_decoders(b=broken)), request_of("x", Media("x/b", b"12345")))

    assert {metric.name: metric.by for metric in expected} == {metric.name: count for metric, count in expected.items()}
    assert all(metric.by == count for metric, count in expected.items())


async def test_a_retry_is_counted():
    retries = Difference("motet_media_job_retries_total", modality="a")

    await run_generation(
        orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", fault=InjectedFault(RetryableError("gone"), times=1))))
    )

    assert retries.by == 1


async def test_a_modality_without_a_decoder_gets_no_label():
    class InventsModalities:
        async def generate(self, prompt, deadline):
            for number in range(3):
                yield Signal(f"z{number}", tensor_of(b"", (4,)))
            yield Finished("stop", 1, 1)

    others = Difference("motet_parts_total", modality="other", reason="MODALITY_NOT_SUPPORTED", fault="caller")

    await run_generation(orchestrator_of(InventsModalities()))

    assert others.by == 3
    assert value("motet_parts_total", modality="z0", reason="MODALITY_NOT_SUPPORTED", fault="caller") == 0


class MeasuredDecoder(ToyDecoder):
    """A decoder that takes 1 GPU second per step, and 0.5 CPU seconds of a modality that no bundle has."""

    async def decode(self, job, deadline):
        times = current_compute_times()
        time, strange = (times.start(ServiceKind.DECODER, modality) for modality in (job.modality, "strange"))
        async for event in super().decode(job, deadline):
            time.gpu += isinstance(event, Progress)
            strange.cpu = 0.5
            yield event


def gpu_seconds(modality):
    return Difference("motet_request_gpu_seconds_sum", component="decoder", modality=modality)


async def test_the_compute_time_of_a_generation_is_the_sum_of_its_jobs_and_one_observation_for_each_modality():
    a, b = gpu_seconds("a"), gpu_seconds("b")
    count = Difference("motet_request_gpu_seconds_count", component="decoder", modality="a")
    others = Difference("motet_request_cpu_seconds_sum", component="decoder", modality="other")
    failed = MeasuredDecoder("b", fault=InjectedFault(FaultError("broken"), after=1))
    script = [*SCRIPT, *script_of(signal_run("a"))]

    await run_generation(orchestrator_of(script, toy_decoders(a=MeasuredDecoder("a", steps=3), b=failed)))

    assert (a.by, b.by, count.by, others.by) == (6, 1, 1, 1.5)
    assert value("motet_request_cpu_seconds_count", component="decoder", modality="strange") == 0


async def test_the_compute_time_of_a_cancelled_generation_counts():
    spent = gpu_seconds("a")
    hanging = MeasuredDecoder("a", steps=5, fault=InjectedFault(Pause(), after=2))
    orchestrator = orchestrator_of(script_of(signal_run("a")), toy_decoders(a=hanging))

    async with aclosing(orchestrator.generate(request_of())) as events:
        async for event in events:
            if isinstance(event.payload, PartProgress) and event.payload.step == 2:
                break
    await wait_idle(orchestrator)

    assert spent.by == 2
