"""Replicas behind real servers: the orchestrator's pools find, spare and replace them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from motet.client import Client
from motet.core.deadline import Deadline
from motet.core.errors import OverloadedError, SettingsError
from motet.core.events import PartProgress, State
from motet.core.media import Media
from motet.core.workers import DecodeJob, Progress, Workers
from motet.toys.workers import Pause, ToyDecoder, ToyEncoder, ToyLanguageModel, tensor_of
from motet.transport import convert
from motet.transport.channel import open_channel
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from motet.transport.status import DETAILS_KEY
from motet.v1 import generation_service_pb2_grpc
from orchestrator.orchestrator import Orchestrator
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.pools import pooled_workers
from services.orchestrator.servicer import GenerationServicer
from services.orchestrator.settings import addresses_of
from tests.orchestrator.stage import DIGEST, MANIFEST, ask, ending, media_of, probe, run_of, said, script_of
from tests.transport.serving import served
from tests.waiting import until

JOB = DecodeJob("a", tensor_of(b"job", (4,)), seed=7, steps=20)


class Troupe:
    """Servers of toys, and pooled workers that reach them."""

    def __init__(self, **settings: Any) -> None:
        self.model = ToyLanguageModel(MANIFEST.grammar, script_of("An a: ", run_of("a")))
        self.decoders: list[ToyDecoder] = []
        self.servers: list[Server] = []
        self.settings = settings
        self.stack = AsyncExitStack()

    async def serve(self, worker: Any, limiter: ConcurrencyLimiter | None = None) -> str:
        server, _ = await self.stack.enter_async_context(served(worker, limiter=limiter))
        self.servers.append(server)
        return server.address

    async def workers(self, *decoders: ToyDecoder, limiter: ConcurrencyLimiter | None = None) -> Workers:
        """Pools over the toys, each behind a server; those of the decoders are `servers[2:]`."""
        self.decoders = list(decoders)
        encoder, model = await self.serve(ToyEncoder()), await self.serve(self.model, limiter)
        addresses = tuple([await self.serve(decoder) for decoder in decoders])
        settings = OrchestratorSettings(
            encoder=encoder, language_model=model, decoders={"a": addresses}, **self.settings
        )
        return await pooled_workers(settings, MANIFEST, self.stack)

    @property
    def running(self) -> list[int]:
        return [decoder.running for decoder in self.decoders]


@asynccontextmanager
async def troupe(**settings: Any) -> AsyncIterator[Troupe]:
    one = Troupe(**settings)
    async with one.stack:
        yield one


def slow(**options: Any) -> ToyDecoder:
    return ToyDecoder("a", media_type="x/a", delay=0.02, **options)


async def made(workers: Workers, job: DecodeJob = JOB) -> Media:
    events = [event async for event in workers.decoders["a"].decode(job, Deadline.after(10))]
    assert isinstance(events[-1], Media)
    return events[-1]


async def test_a_step_whose_replica_dies_midway_is_finished_by_another() -> None:
    async with troupe() as them:
        workers = await them.workers(slow(), slow())
        await made(workers)  # both are heard of by now, and equally able
        async with aclosing(workers.decoders["a"].decode(JOB, Deadline.after(10))) as events:
            heard = [await anext(events), await anext(events)]
            dying = them.running.index(1)
            await them.servers[2 + dying].stop()
            heard += [event async for event in events]

        expected = [event async for event in slow().decode(JOB, Deadline.never())]
        assert heard[-1] == expected[-1]
        steps = [event.step for event in heard if isinstance(event, Progress)]
        assert (steps[:2], steps[-20:]) == ([1, 2], list(range(1, 21))), "the other begins anew"
        assert len(them.decoders[1 - dying].seen) >= 1
        await until(lambda: them.running == [0, 0])


async def test_the_answer_does_not_show_that_a_replica_died() -> None:
    async with troupe() as them:
        workers = await them.workers(slow(steps=10), slow(steps=10))
        # Else the second answer would be the first one's media once more.
        settings = OrchestratorSettings(reuse_bytes=0)
        async with Orchestrator(workers, MANIFEST, DIGEST, settings, probe) as motet:
            whole = [event async for event in motet.generate(ask())]
            heard = []
            async with aclosing(motet.generate(ask())) as events:
                async for event in events:
                    heard.append(event)
                    if isinstance(event.payload, PartProgress) and event.payload.step == 3:
                        await them.servers[2 + them.running.index(1)].stop()

        assert ending(heard).state is State.SUCCEEDED
        assert media_of(heard) == media_of(whole)
        assert [progress.step for progress in said(heard, PartProgress)] == list(range(1, 11))


async def test_a_replica_that_drains_gets_no_more_steps_and_finishes_its_own() -> None:
    async with troupe() as them:
        workers = await them.workers(slow(), slow())
        begun = asyncio.create_task(made(workers))
        await until(lambda: sum(them.running) == 1)
        drained = them.running.index(1)
        draining = asyncio.create_task(them.servers[2 + drained].drain(10))
        await until(lambda: them.servers[2 + drained].limiter.load.draining)
        await asyncio.gather(*(made(workers) for _ in range(4)))

        assert len(them.decoders[drained].seen) == 1
        assert isinstance(await begun, Media)
        assert await draining == 0


async def test_steps_are_spread_over_replicas_by_what_each_has_to_do() -> None:
    async with troupe() as them:
        workers = await them.workers(slow(), slow(), slow())
        tasks = [asyncio.create_task(made(workers)) for _ in range(6)]
        await until(lambda: sum(them.running) == 6)

        assert them.running == [2, 2, 2]
        await asyncio.gather(*tasks)


async def test_excess_is_refused_on_the_wire_with_the_time_to_come_back() -> None:
    async with troupe(queue_seconds=0.5) as them:
        them.model = ToyLanguageModel(MANIFEST.grammar, [Pause()])
        workers = await them.workers(slow(), limiter=ConcurrencyLimiter(1, 8))
        motet = await them.stack.enter_async_context(Orchestrator(workers, MANIFEST, DIGEST, probe=probe))
        server = await them.stack.enter_async_context(Server([GenerationServicer(motet)]))
        client = await them.stack.enter_async_context(Client(server.address))
        channel = await them.stack.enter_async_context(open_channel(server.address))

        async def hang() -> None:
            with suppress(OverloadedError):
                await client.answer(ask())

        waiting = [asyncio.create_task(hang())]
        await until(lambda: them.model.running == 1)
        waiting.append(asyncio.create_task(hang()))
        await until(lambda: motet.running == 2)
        began = asyncio.get_running_loop().time()
        call = generation_service_pb2_grpc.GenerationServiceStub(channel).Generate(convert.request_to_proto(ask()))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass

        assert asyncio.get_running_loop().time() - began < 1
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert retry_delay_of(caught.value) > 0
        assert len(them.model.seen) == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def retry_delay_of(error: grpc.aio.AioRpcError) -> int:
    """Nanoseconds."""
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    return retry.retry_delay.ToNanoseconds()


async def test_a_worker_that_is_not_there_is_told_at_once() -> None:
    settings = OrchestratorSettings(
        encoder="127.0.0.1:1", language_model="127.0.0.1:1", decoders={"a": ("127.0.0.1:1", "127.0.0.1:2")}
    )
    async with AsyncExitStack() as stack:
        workers = await pooled_workers(settings, MANIFEST, stack)
        async with asyncio.timeout(5):
            with pytest.raises(Exception, match="cannot be reached"):
                await made(workers)


async def test_a_decoder_of_what_the_bundle_does_not_make_is_refused() -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(SettingsError, match="does not make smell"):
            await pooled_workers(OrchestratorSettings(decoders={"smell": "127.0.0.1:1"}), MANIFEST, stack)


def test_a_modality_that_is_named_again_has_several_replicas() -> None:
    assert addresses_of(["a=h:1", "b=h:2", "a=h:3"]) == {"a": ("h:1", "h:3"), "b": "h:2"}


def test_replicas_can_be_listed_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_ENCODER", "h:1")
    monkeypatch.setenv("MOTET_LANGUAGE_MODEL", '["h:2", "h:3"]')
    monkeypatch.setenv("MOTET_DECODERS", '{"a": ["h:4", "h:5"], "b": "h:6"}')

    settings = OrchestratorSettings()

    assert (settings.encoder, settings.language_model) == ("h:1", ("h:2", "h:3"))
    assert settings.decoders == {"a": ("h:4", "h:5"), "b": "h:6"}
