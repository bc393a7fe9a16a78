"""The workers' calls of one request without an orchestrator: generated stubs, and nothing around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from typing import Any

from motet.core.workers import Prompt, Turn
from motet.internal.v1 import decoder_service_pb2, decoder_service_pb2_grpc, language_model_service_pb2_grpc
from motet.transport import convert
from motet.transport.channel import open_channel
from orchestrator.generation.pipeline import seed_of
from services.benchmarks.tracing.deployment import RecordedDeployment
from services.benchmarks.tracing.spans import LANGUAGE_MODEL


class BareRequest(Enum):
    """When decoders start."""

    SEQUENTIAL = "sequential"
    """One after the other, once the language model is done: the original's way."""
    BARRIER = "barrier"
    """All at once, when the language model is done."""
    EAGER = "eager"
    """Each as soon as its signal is there."""


class BareStubs:
    """Calls the workers of a band."""

    def __init__(self, language_model: Any, decoders: Mapping[str, Any], max_tokens: int) -> None:
        self._language_model = language_model
        self._decoders = decoders
        self._max_tokens = max_tokens

    async def answer(self, text: str, seed: int, order: BareRequest) -> int:
        """Have one prompt answered; how many bytes of media came."""
        jobs, tasks = [], []
        async with asyncio.TaskGroup() as group:
            async for job in self.jobs(text, seed):
                jobs.append(job)
                if order is BareRequest.EAGER:
                    tasks.append(group.create_task(self.decode(job)))
            if order is BareRequest.BARRIER:
                tasks = [group.create_task(self.decode(job)) for job in jobs]
            if order is BareRequest.SEQUENTIAL:
                return sum([await self.decode(job) for job in jobs])
        return sum(task.result() for task in tasks)

    async def jobs(self, text: str, seed: int) -> AsyncIterator[decoder_service_pb2.DecodeRequest]:
        """What the language model wants to be made, as it writes; ends when it does."""
        ceilings = dict.fromkeys(self._decoders, 8)
        prompt = Prompt((Turn("user", (text,)),), ceilings, self._max_tokens, seed=seed)
        number = 0
        async for response in self._language_model.Generate(convert.prompt_to_proto(prompt)):
            for event in response.events:
                if event.WhichOneof("event") == "signal":
                    yield _job(event.signal, seed, number)
                    number += 1

    async def decode(self, job: decoder_service_pb2.DecodeRequest) -> int:
        """Have one piece of media made; how many bytes it has."""
        data = bytearray()
        async for response in self._decoders[job.modality].Decode(job):
            for event in response.events:
                match event.WhichOneof("event"):
                    case "media":
                        data.extend(event.media.data)
                    case "chunk":
                        data.extend(event.chunk)
        return len(data)


def _job(signal: Any, seed: int, number: int) -> decoder_service_pb2.DecodeRequest:
    return decoder_service_pb2.DecodeRequest(
        modality=signal.modality, conditioning=signal.conditioning, seed=seed_of(seed, f"part-{number}")
    )


@asynccontextmanager
async def bare_stubs(band: RecordedDeployment) -> AsyncIterator[BareStubs]:
    """Stubs of the band's workers, on channels like an orchestrator's."""
    manifest = band.lineup.manifest
    async with AsyncExitStack() as stack:
        channels = {
            worker: await stack.enter_async_context(open_channel(address, health=""))
            for worker, address in band.workers.items()
        }
        stubs = {
            modality: decoder_service_pb2_grpc.DecoderServiceStub(channels[modality]) for modality in manifest.signals
        }
        model = language_model_service_pb2_grpc.LanguageModelServiceStub(channels[LANGUAGE_MODEL])
        yield BareStubs(model, stubs, manifest.language_model.max_tokens)
