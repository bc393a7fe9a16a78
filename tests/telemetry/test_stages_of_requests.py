"""The stages of a request explain its latency, embedded and over gRPC."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from motet.core.clock import now
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage, use_stage_observer
from motet.core.workers import Workers
from motet.toys.workers import Pause, ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel
from orchestrator.settings import OrchestratorSettings
from tests.callers import AnonymousOrchestrator
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    orchestrator_of,
    pools_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
)
from tests.telemetry.recorded_stages import RecordedStages, covered, of_component, without_calls
from tests.transport.serving import served
from tests.waiting import in_virtual_time

ONE = str(UUID(int=1))
MEDIA = Media("x/a", b"velvet")
PARTS = script_of("An a: ", signal_run("a"), " and a b: ", signal_run("b"), " and more.")


async def latency_of(motet: AnonymousOrchestrator, request: GenerationRequest) -> tuple[float, float]:
    """Return the start and the end of a request, as its caller measures them."""
    start = now()
    async with aclosing(motet.generate(request)) as events:
        async for _ in events:
            pass
    return start, now()


def toys(step: float) -> Workers:
    """Return workers with `step` seconds per token, and five times as many per denoising step."""
    decoders = {name: ToyDecoder(name, delay=5 * step) for name in ("a", "b")}
    return Workers(ToyEncoder(delay=3 * step), ToyLanguageModel(MANIFEST.grammar, PARTS, delay=step), decoders)


@in_virtual_time
async def test_the_stages_of_each_request_explain_its_latency_in_one_process() -> None:
    stages = RecordedStages()
    with use_stage_observer(stages):
        motet = orchestrator_of(workers=pools_of(toys(0.01), OrchestratorSettings()))
        requests = [
            request_of("hi", MEDIA, request_id=str(UUID(int=number + 1)), priority=number % 3) for number in range(5)
        ]
        requests.append(request_of("text only", request_id=str(UUID(int=6)), allowed_modalities=frozenset({"text"})))
        times = await asyncio.gather(*(latency_of(motet, request) for request in requests))

    for request, (start, end) in zip(requests, times, strict=True):
        intervals = stages.of_request[request.request_id]
        assert end - start > 0.2
        assert covered(without_calls(intervals), start, end) >= 0.95 * (end - start)
        own = of_component(intervals, ServiceKind.ORCHESTRATOR)
        assert covered(own, start, end) >= 0.95 * (end - start), "the orchestrator alone explains it, too"


@in_virtual_time
async def test_a_wait_for_a_replica_is_a_stage_and_the_call_follows_without_a_gap() -> None:
    stages = RecordedStages()
    model = ToyLanguageModel(MANIFEST.grammar, script_of(Pause(1), "x"))
    with use_stage_observer(stages):
        await run_generation(orchestrator_of(model), request_of(request_id=ONE))

    own = [each for each in of_component(stages.of_request[ONE], ServiceKind.ORCHESTRATOR) if each.modality == "text"]
    assert [each.stage for each in own] == [Stage.QUEUE, Stage.CALL]
    assert own[0].end == own[1].start
    assert own[1].end - own[1].start == pytest.approx(1)


async def stalls_of_this_loop(stalls: list[float]) -> None:
    """Append the seconds by which each short sleep was too long, because the machine or the loop was busy."""
    while True:
        before = now()
        await asyncio.sleep(0.002)
        stalls.append(now() - before - 0.002)


async def test_the_stages_of_a_request_explain_its_latency_over_grpc() -> None:
    """The gaps are at most 5 % of the latency, beside the time in which this process did not run."""
    stages, stalls, local = RecordedStages(), list[float](), toys(0.02)
    async with AsyncExitStack() as stack:
        _, encoder = await stack.enter_async_context(served(local.encoder))
        _, model = await stack.enter_async_context(served(local.language_model))
        decoders = {}
        for name, decoder in local.decoders.items():
            _, channel = await stack.enter_async_context(served(decoder))
            decoders[name] = RemoteDecoder(channel)
        remote = Workers(RemoteEncoder(encoder), RemoteLanguageModel(model), decoders)
        motet = orchestrator_of(workers=pools_of(remote, OrchestratorSettings()))
        await run_generation(motet, request_of("the first request opens the connections"))
        with use_stage_observer(stages):
            watch = asyncio.create_task(stalls_of_this_loop(stalls))
            start, end = await latency_of(motet, request_of("hi", MEDIA, request_id=ONE))
            watch.cancel()

    intervals = stages.of_request[ONE]
    gaps = end - start - covered(without_calls(intervals), start, end)
    assert end - start > 0.5
    assert gaps <= 0.05 * (end - start) + sum(stalls)
    assert {each.component for each in intervals} == set(ServiceKind), "all services work for the same request"
    assert {each.stage for each in intervals} >= {Stage.PROBE, Stage.QUEUE, Stage.TRANSFER, Stage.DENOISE}


@in_virtual_time
async def test_a_stage_of_a_call_that_fails_or_is_cancelled_is_recorded() -> None:
    stages = RecordedStages()
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x", Pause()))
    with use_stage_observer(stages):
        request = asyncio.create_task(run_generation(orchestrator_of(model), request_of(request_id=ONE)))
        await asyncio.sleep(1)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)

    [call] = [each for each in stages.of_request[ONE] if each.stage == "call"]
    assert call.end - call.start == pytest.approx(1)


def path_and_overhead() -> tuple[float, float, float, float]:
    names = ("critical_path_seconds", "overhead_seconds")
    found = [REGISTRY.get_sample_value(f"motet_generation_{name}_sum") or 0.0 for name in names]
    plan = [REGISTRY.get_sample_value(f"motet_plan_{name}_sum") or 0.0 for name in ("jobs", "depth")]
    return (found[0], found[1], plan[0], plan[1])


@in_virtual_time
async def test_the_critical_path_is_the_chain_of_calls_that_ended_last() -> None:
    before = path_and_overhead()
    decoders = {"a": ToyDecoder("a", delay=1), "b": ToyDecoder("b", delay=0.1)}  # two steps each
    model = ToyLanguageModel(MANIFEST.grammar, PARTS, delay=0.01)
    motet = orchestrator_of(workers=pools_of(Workers(ToyEncoder(delay=0.5), model, decoders), OrchestratorSettings()))
    start, end = await latency_of(motet, request_of("hi", MEDIA))

    path, overhead, jobs, depth = (after - old for after, old in zip(path_and_overhead(), before, strict=True))
    signal = 0.01 * (len("An a: ") + len(signal_run("a")))
    assert path == pytest.approx(0.5 + signal + 2, abs=0.05)
    assert path + overhead == pytest.approx(end - start, abs=0.01)
    assert overhead < 0.05 * (end - start)
    assert (jobs, depth) == (2, 1)
