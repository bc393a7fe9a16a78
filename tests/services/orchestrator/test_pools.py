"""Tests of pools over real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from motet.client import Client
from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import OverloadedError, Reason, RetryableError, SettingsError
from motet.core.events import PartProgress, State
from motet.core.media import Media
from motet.core.workers import DecodeJob, Progress, Workers
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder, ToyLanguageModel, tensor_of
from motet.transport import convert
from motet.transport.channel import open_channel
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from motet.transport.status import DETAILS_KEY
from motet.v1 import generation_service_pb2_grpc
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.pools import pooled_workers
from services.orchestrator.servicer import GenerationServicer
from services.orchestrator.settings import addresses_of
from tests.callers import AnonymousOrchestrator, for_anyone
from tests.orchestrator.pipeline_harness import (
    DIGEST,
    MANIFEST,
    media_of,
    payloads_of,
    probe,
    record_of,
    request_of,
    script_of,
    signal_run,
)
from tests.transport.serving import served
from tests.waiting import until

JOB = DecodeJob("a", tensor_of(b"job", (4,)), seed=7, steps=20)


class Replicas:
    """Servers of toys, and pools over replicas."""

    def __init__(self, **settings: Any) -> None:
        self.model = ToyLanguageModel(MANIFEST.grammar, script_of("An a: ", signal_run("a")))
        self.decoders: list[Any] = []
        self.servers: list[Server] = []
        self.settings = settings
        self.stack = AsyncExitStack()

    async def serve(self, worker: Any, limiter: ConcurrencyLimiter | None = None) -> str:
        """Serve a worker and return its address."""
        server, _ = await self.stack.enter_async_context(served(worker, limiter=limiter))
        self.servers.append(server)
        return server.address

    async def workers(self, *decoders: ToyDecoder, limiter: ConcurrencyLimiter | None = None) -> Workers:
        """Return pools over the toys, once every pool has its replicas' loads. The decoders are `servers[2:]`."""
        self.decoders = list(decoders)
        encoder, model = await self.serve(ToyEncoder()), await self.serve(self.model, limiter)
        addresses = tuple([await self.serve(decoder) for decoder in decoders])
        settings = OrchestratorSettings(
            encoder=encoder, language_model=model, decoders={"a": addresses}, **self.settings
        )
        workers = await pooled_workers(settings, MANIFEST, self.stack)
        pools = [worker._pool for worker in (workers.encoder, workers.language_model, workers.decoders["a"])]
        await until(lambda: all(replica.usable(now()) for pool in pools for replica in pool._replicas.members))
        return workers

    @property
    def running(self) -> list[int]:
        """Number of jobs that each decoder is running."""
        return [decoder.running for decoder in self.decoders]


class HoldingDecoder(ToyDecoder):
    """A toy decoder that holds its jobs after `hold_after` steps until its call is cancelled or `release` is called."""

    def __init__(self, hold_after: int | None = None, **options: Any) -> None:
        super().__init__("a", media_type="x/a", **options)
        self.hold_after = hold_after
        self.released = asyncio.Event()

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        async with aclosing(super().decode(job, deadline)) as events:
            async for event in events:
                yield event
                if isinstance(event, Progress) and event.step == self.hold_after:
                    await self.released.wait()


@asynccontextmanager
async def deployed(**settings: Any) -> AsyncIterator[Replicas]:
    replicas = Replicas(**settings)
    async with replicas.stack:
        yield replicas


async def events_of(workers: Workers, job: DecodeJob = JOB) -> list[Progress | Media]:
    return [event async for event in workers.decoders["a"].decode(job, Deadline.after(60))]


async def test_a_job_whose_replica_dies_midway_is_finished_by_another() -> None:
    async with deployed() as replicas:
        workers = await replicas.workers(HoldingDecoder(2), HoldingDecoder(2))
        async with aclosing(workers.decoders["a"].decode(JOB, Deadline.after(60))) as stream:
            events = [await anext(stream), await anext(stream)]
            dying = replicas.running.index(1)
            replicas.decoders[1 - dying].hold_after = None
            await replicas.servers[2 + dying].stop()
            events += [event async for event in stream]

        expected = [event async for event in ToyDecoder("a", media_type="x/a").decode(JOB, Deadline.never())]
        assert events[-1] == expected[-1]
        steps = [event.step for event in events if isinstance(event, Progress)]
        assert steps == [1, 2, *range(1, 21)], "the other replica starts at the first step"
        assert [len(decoder.seen) for decoder in replicas.decoders] == [1, 1]
        await until(lambda: replicas.running == [0, 0])


async def test_the_answer_does_not_show_that_a_replica_died() -> None:
    async with deployed() as replicas:
        workers = await replicas.workers(HoldingDecoder(steps=10), HoldingDecoder(steps=10))
        # With a cache, the second answer would have the media of the first.
        settings = OrchestratorSettings(media_cache_bytes=0)
        async with AnonymousOrchestrator(workers, MANIFEST, DIGEST, settings, probe) as motet:
            expected = [event async for event in motet.generate(request_of())]
            for decoder in replicas.decoders:
                decoder.hold_after = 3
            events = []
            async with aclosing(motet.generate(request_of())) as stream:
                async for event in stream:
                    events.append(event)
                    if isinstance(event.payload, PartProgress) and event.payload.step == 3:
                        dying = replicas.running.index(1)
                        replicas.decoders[1 - dying].hold_after = None
                        await replicas.servers[2 + dying].stop()

        assert record_of(events).state is State.SUCCEEDED
        assert media_of(events) == media_of(expected)
        assert [progress.step for progress in payloads_of(events, PartProgress)] == list(range(1, 11))


async def test_a_draining_replica_gets_no_more_jobs_and_finishes_its_own() -> None:
    async with deployed() as replicas:
        workers = await replicas.workers(HoldingDecoder(2), HoldingDecoder(2))
        first = asyncio.create_task(events_of(workers))
        await until(lambda: sum(replicas.running) == 1)
        draining = replicas.running.index(1)
        replicas.decoders[1 - draining].hold_after = None
        drain = asyncio.create_task(replicas.servers[2 + draining].drain(60))
        await until(lambda: replicas.servers[2 + draining].limiter.load.draining)
        await asyncio.gather(*(events_of(workers) for _ in range(4)))

        assert len(replicas.decoders[draining].seen) == 1
        replicas.decoders[draining].released.set()
        assert isinstance((await first)[-1], Media)
        assert await drain == 0


async def test_jobs_are_spread_over_replicas_by_their_outstanding_work() -> None:
    async with deployed() as replicas:
        workers = await replicas.workers(*(HoldingDecoder(1) for _ in range(3)))
        tasks = [asyncio.create_task(events_of(workers)) for _ in range(6)]
        await until(lambda: sum(replicas.running) == 6)

        assert replicas.running == [2, 2, 2]
        for decoder in replicas.decoders:
            decoder.released.set()
        await asyncio.gather(*tasks)


async def test_a_call_beyond_the_queue_limit_gets_resource_exhausted_with_a_retry_delay() -> None:
    async with deployed(queue_seconds=0.5) as replicas:
        replicas.model = ToyLanguageModel(MANIFEST.grammar, [Pause()])
        workers = await replicas.workers(HoldingDecoder(), limiter=ConcurrencyLimiter(1, 8))
        motet = await replicas.stack.enter_async_context(AnonymousOrchestrator(workers, MANIFEST, DIGEST, probe=probe))
        server = await replicas.stack.enter_async_context(Server([GenerationServicer(for_anyone(motet))]))
        client = await replicas.stack.enter_async_context(Client(server.address))
        channel = await replicas.stack.enter_async_context(open_channel(server.address))

        async def call_hanging_model() -> None:
            with suppress(OverloadedError):
                await client.answer(request_of())

        waiting = [asyncio.create_task(call_hanging_model())]
        await until(lambda: replicas.model.running == 1)
        waiting.append(asyncio.create_task(call_hanging_model()))
        await until(lambda: motet.running == 2)
        began = asyncio.get_running_loop().time()
        call = generation_service_pb2_grpc.GenerationServiceStub(channel).Generate(
            convert.request_to_proto(request_of())
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in call:
                pass

        assert asyncio.get_running_loop().time() - began < 30, "the hanging model is not waited for"
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert retry_delay_of(caught.value) > 0
        assert len(replicas.model.seen) == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def retry_delay_of(error: grpc.aio.AioRpcError) -> int:
    """Return the delay in nanoseconds."""
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    return retry.retry_delay.ToNanoseconds()


async def test_an_unreachable_worker_fails_the_call_without_a_wait() -> None:
    settings = OrchestratorSettings(
        encoder="127.0.0.1:1", language_model="127.0.0.1:1", decoders={"a": ("127.0.0.1:1", "127.0.0.1:2")}
    )
    async with AsyncExitStack() as stack:
        workers = await pooled_workers(settings, MANIFEST, stack)
        async with asyncio.timeout(90):
            with pytest.raises(Exception, match="cannot be reached"):
                await events_of(workers)


async def test_a_failing_worker_gets_a_call_twice_because_only_the_pool_retries() -> None:
    failing = ToyDecoder("a", fault=InjectedFault(RetryableError("away", Reason.WORKER_UNAVAILABLE)))
    async with deployed() as replicas:
        workers = await replicas.workers(failing)
        with pytest.raises(RetryableError, match="away"):
            await events_of(workers)

    assert len(failing.seen) == 2


async def test_a_decoder_of_an_unknown_modality_is_refused() -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(SettingsError, match="does not generate smell: the nearest modality is "):
            await pooled_workers(OrchestratorSettings(decoders={"smell": "127.0.0.1:1"}), MANIFEST, stack)


def test_several_addresses_of_a_modality_are_replicas() -> None:
    assert addresses_of(["a=h:1", "b=h:2", "a=h:3"]) == {"a": ("h:1", "h:3"), "b": "h:2"}


def test_replicas_can_be_listed_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_ENCODER", "h:1")
    monkeypatch.setenv("MOTET_LANGUAGE_MODEL", '["h:2", "h:3"]')
    monkeypatch.setenv("MOTET_DECODERS", '{"a": ["h:4", "h:5"], "b": "h:6"}')

    settings = OrchestratorSettings()

    assert (settings.encoder, settings.language_model) == ("h:1", ("h:2", "h:3"))
    assert settings.decoders == {"a": ("h:4", "h:5"), "b": "h:6"}


async def test_a_dns_address_has_a_replica_for_each_of_its_addresses() -> None:
    async with deployed() as replicas:
        await replicas.workers(HoldingDecoder())
        address = replicas.servers[2].address.replace("127.0.0.1", "dns:///localhost")
        settings = OrchestratorSettings(
            encoder=replicas.servers[0].address, language_model=replicas.servers[1].address, decoders={"a": address}
        )
        workers = await pooled_workers(settings, MANIFEST, replicas.stack)
        await until(lambda: workers.decoders["a"].available)

        assert isinstance((await events_of(workers))[-1], Media)
