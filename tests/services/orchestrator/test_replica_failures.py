"""Replicas behind real servers that restart closely, freeze, or send without end."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import Any

from motet.core.deadline import Deadline
from motet.core.errors import Reason
from motet.core.events import PartFailed, State
from motet.core.media import CHUNK_BYTES
from motet.core.workers import DecodeJob
from motet.toys.workers import Pause, ToyDecoder, ToyEncoder, ToyLanguageModel, tensor_of
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.pools import pooled_workers
from tests.callers import AnonymousOrchestrator
from tests.orchestrator.pipeline_harness import (
    DIGEST,
    MANIFEST,
    payloads_of,
    probe,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    text_of,
)
from tests.orchestrator.pool_harness import decode_to_end
from tests.transport.serving import served
from tests.transport.test_misbehaving_workers import chunk, decoded, raw
from tests.waiting import until


class Restartable:
    """A server of a worker that can restart at its address."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._stack = AsyncExitStack()
        self.address = ""

    async def __aenter__(self) -> Restartable:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        options = {"address": self.address} if self.address else {}
        self.server, _ = await self._stack.enter_async_context(served(self._worker, **options))
        self.address = self.server.address

    async def stop(self) -> None:
        await self._stack.aclose()


async def test_no_job_is_lost_while_replicas_restart_right_after_each_other() -> None:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(Restartable(ToyDecoder("a", delay=0.01))) for _ in range(2)]
        settings = OrchestratorSettings(decoders={"a": tuple(replica.address for replica in replicas)})
        decoder = (await pooled_workers(settings, MANIFEST, stack)).decoders["a"]
        stopped = False
        finished = 0

        async def caller(number: int) -> None:
            nonlocal finished
            for seed in itertools.count(number, 4):
                if stopped:
                    return
                await decode_to_end(decoder, DecodeJob("a", tensor_of(b"job", (4,)), seed, steps=3), Deadline.after(60))
                finished += 1

        async with asyncio.TaskGroup() as callers:
            for number in range(4):
                callers.create_task(caller(number))
            for _ in range(2):
                for replica in replicas:
                    await replica.server.drain(5)
                    await replica.stop()
                    await asyncio.sleep(0.1)
                    await replica.start()
            stopped = True

        assert finished >= 4


async def test_an_answer_is_continued_when_the_only_language_model_restarts() -> None:
    complete = script_of("An a: ", signal_run("a"), " and more text.")
    scripts = iter([complete, script_of("An a: ", Pause()), complete])
    model = ToyLanguageModel(MANIFEST.grammar, lambda prompt: next(scripts))
    async with AsyncExitStack() as stack:
        replica = await stack.enter_async_context(Restartable(model))
        other, _ = await stack.enter_async_context(served(ToyEncoder(), ToyDecoder("a")))
        addresses = {"encoder": other.address, "language_model": replica.address, "decoders": {"a": other.address}}
        settings = OrchestratorSettings(**addresses)
        workers = await pooled_workers(settings, MANIFEST, stack)
        motet = await stack.enter_async_context(AnonymousOrchestrator(workers, MANIFEST, DIGEST, settings, probe))
        expected = text_of(await run_generation(motet))
        events = []

        async def generate() -> None:
            async for event in motet.generate(request_of()):
                events.append(event)

        generation = asyncio.create_task(generate())
        await until(lambda: text_of(events) == "An a: ")
        await replica.stop()
        await replica.start()
        await generation

        assert record_of(events).state is State.SUCCEEDED
        assert text_of(events) == expected
        assert len(model.seen) == 3


async def test_a_decoder_that_sends_chunks_without_end_fails_its_part_and_the_other_parts_arrive() -> None:
    endless = itertools.repeat(decoded(chunk(CHUNK_BYTES)))
    script = script_of("An a: ", signal_run("a"), " and b: ", signal_run("b"))
    async with AsyncExitStack() as stack:
        worker, _ = await stack.enter_async_context(raw(endless))
        toys = ToyEncoder(), ToyLanguageModel(MANIFEST.grammar, script), ToyDecoder("b", media_type="x/b")
        server, _ = await stack.enter_async_context(served(*toys))
        settings = OrchestratorSettings(
            encoder=server.address,
            language_model=server.address,
            decoders={"a": worker.address, "b": server.address},
        )
        workers = await pooled_workers(settings, MANIFEST, stack)
        motet = await stack.enter_async_context(AnonymousOrchestrator(workers, MANIFEST, DIGEST, settings, probe))
        events = await run_generation(motet, request_of())

        (failed,) = payloads_of(events, PartFailed)
        assert failed.error.reason is Reason.WORKER_FAULT
        assert "a chunk before the header" in failed.error.message
        assert record_of(events).state is State.PARTIAL
        assert worker.sent < 1000
