"""Tests of media that are made from others, over gRPC: client, orchestrator, and a server for each decoder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from motet.answers.answer_stream import collect_answer
from motet.client import Client
from motet.core.errors import FaultError, Reason
from motet.core.events import PartFailed, PlanGrown, State
from motet.core.media import MEBI, Media
from motet.core.request import ArtifactName
from motet.core.workers import Workers
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.clients import RemoteDecoder
from motet.transport.server import Server
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer
from tests.callers import AnonymousOrchestrator, for_anyone
from tests.orchestrator.edges import EDGES, TAKES, edge_decoders, plan_of
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import DIGEST, payloads_of, probe, record_of, request_of
from tests.transport.serving import served
from tests.waiting import until


def toys_of(size: int = 64, **faults: InjectedFault) -> dict[str, ToyDecoder]:
    """Return the toy decoders of a deployment. Their media have `size` bytes."""
    return {name: ToyDecoder(name, media_type=f"x/{name}", size=size, fault=faults.get(name)) for name in TAKES}


@asynccontextmanager
async def deployed(toys: dict[str, ToyDecoder]) -> AsyncIterator[Client]:
    """Connect a client and an orchestrator whose decoders are servers."""
    async with AsyncExitStack() as stack:
        decoders = {}
        for name, toy in toys.items():
            _, channel = await stack.enter_async_context(served(toy))
            decoders[name] = RemoteDecoder(channel)
        workers = Workers(ToyEncoder(), ToyLanguageModel(EDGES.grammar, plan_of), decoders)
        motet = await stack.enter_async_context(
            AnonymousOrchestrator(workers, EDGES, DIGEST, OrchestratorSettings(), probe)
        )
        server = await stack.enter_async_context(
            Server([GenerationServicer(for_anyone(motet)), ArtifactServicer(for_anyone(motet))])
        )
        yield await stack.enter_async_context(Client(server.address))


async def test_remote_and_embedded_decoders_make_the_same_bytes_from_the_same_inputs() -> None:
    request = request_of(Media("x/b", b"sound"), "acdcd")
    workers = Workers(ToyEncoder(), ToyLanguageModel(EDGES.grammar, plan_of), edge_decoders(**toys_of(700_000)))

    async with AnonymousOrchestrator(workers, EDGES, DIGEST, OrchestratorSettings(), probe) as motet:
        embedded = await collect_answer(motet, request)
    async with deployed(toys_of(700_000)) as client:
        answers = [await client.answer(request) for _ in range(2)]

    assert [answer.parts for answer in answers] == [embedded.parts] * 2
    assert [part.modality for part in embedded.media] == ["a", "c", "d", "c", "d"]


async def test_an_input_of_20_mebibytes_reaches_the_decoder_unchanged() -> None:
    toys, media = toys_of(), Media("x/b", bytes(range(256)) * (20 * MEBI // 256))

    async with deployed(toys) as client:
        artifact = await client.upload(media)
        answer = await client.answer(request_of(ArtifactName(artifact.name), "acd"))

    assert answer.generation.state is State.SUCCEEDED
    assert toys["d"].seen[0].inputs[0].sha256 == media.sha256
    assert answer.media[-1].provenance["inputs"].split(",")[0] == media.sha256.hex()


async def test_the_plan_and_a_failed_input_arrive_at_the_client() -> None:
    async with deployed(toys_of(c=InjectedFault(FaultError("it broke")))) as client:
        events = [event async for event in client.generate(request_of("abcd"))]

    check_events(events)
    *_, taker = payloads_of(events, PlanGrown)[-1].nodes
    assert taker.depends_on == tuple(source.part_id for source in taker.inputs)
    reasons = [failed.error.reason for failed in payloads_of(events, PartFailed)]
    assert reasons == [Reason.WORKER_FAULT, Reason.DEPENDENCY_FAILED]
    assert record_of(events).state is State.PARTIAL


async def test_a_disconnect_stops_a_decoder_that_takes_media() -> None:
    toys = toys_of(d=InjectedFault(Pause()))

    async with deployed(toys) as client:
        answer = asyncio.create_task(client.answer(request_of("abcd")))
        await until(lambda: toys["d"].running == 1)
        answer.cancel()
        await until(lambda: not any(toy.running for toy in toys.values()))
