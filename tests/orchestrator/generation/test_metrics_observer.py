"""Tests of the metrics of generations."""

from __future__ import annotations

from prometheus_client import REGISTRY

from motet.core.errors import FaultError, RetryableError
from motet.core.media import Media
from motet.core.workers import Finished, Signal
from motet.toys.workers import InjectedFault, ToyDecoder, tensor_of
from tests.orchestrator.pipeline_harness import (
    orchestrator_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    toy_decoders,
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
