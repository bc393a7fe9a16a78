"""The worker calls of one request without an orchestrator: the generated gRPC stubs alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from typing import Any

from motet.core.workers import Prompt, Turn
from motet.internal.v1 import decoder_service_pb2, decoder_service_pb2_grpc, language_model_service_pb2_grpc
from motet.transport import convert
from motet.transport.channel import open_channel
from orchestrator.generation.part_inputs import InputResolver
from orchestrator.generation.pipeline import seed_of
from services.benchmarks.tracing.deployment import RecordedDeployment
from services.benchmarks.tracing.spans import LANGUAGE_MODEL


class DecodeSchedule(Enum):
    """The time at which decoders start."""

    SEQUENTIAL = "sequential"
    """One decoder after another, after the language model ends: the way of the original NExT-GPT."""
    BARRIER = "barrier"
    """All decoders at once, after the language model ends."""
    EAGER = "eager"
    """Each decoder as soon as its signal arrives."""


class BareStubs:
    """A client of the workers of a deployment. `takes` maps a modality to its slots, see `Manifest.takes`."""

    def __init__(
        self,
        language_model: Any,
        decoders: Mapping[str, Any],
        max_tokens: int,
        takes: Mapping[str, Sequence[Sequence[str]]],
    ) -> None:
        self._language_model = language_model
        self._decoders = decoders
        self._max_tokens = max_tokens
        self._takes = takes

    async def generate(self, text: str, seed: int, schedule: DecodeSchedule) -> int:
        """Make all worker calls of one prompt. Return the number of media bytes."""
        jobs = []
        tasks: dict[str, asyncio.Task[decoder_service_pb2.DecodeRequest.Input]] = {}
        resolver = InputResolver(self._takes)
        async with asyncio.TaskGroup() as group:

            def start(job: decoder_service_pb2.DecodeRequest) -> None:
                needs = [tasks[str(each.source)] for each in resolver.resolve(job.modality)]
                name = str(len(tasks))
                resolver.add(name, job.modality)
                tasks[name] = group.create_task(self.decode_after(needs, job))

            async for job in self.stream_jobs(text, seed):
                jobs.append(job)
                if schedule is DecodeSchedule.EAGER:
                    start(job)
            for job in jobs if schedule is not DecodeSchedule.EAGER else ():
                start(job)
                if schedule is DecodeSchedule.SEQUENTIAL:
                    await asyncio.wait(tasks.values())
        return sum(len(task.result().data) for task in tasks.values())

    async def decode_after(
        self,
        needs: Sequence[asyncio.Task[decoder_service_pb2.DecodeRequest.Input]],
        job: decoder_service_pb2.DecodeRequest,
    ) -> decoder_service_pb2.DecodeRequest.Input:
        """Wait for the media that a decode needs, hand them over, and call the decoder. Return the media."""
        job.inputs.extend([await need for need in needs])
        return await self.decode(job)

    async def stream_jobs(self, text: str, seed: int) -> AsyncIterator[decoder_service_pb2.DecodeRequest]:
        """Call the language model and yield a decode request for each signal."""
        ceilings = dict.fromkeys(self._decoders, 8)
        prompt = Prompt((Turn("user", (text,)),), ceilings, self._max_tokens, seed=seed)
        number = 0
        async for response in self._language_model.Generate(convert.prompt_to_proto(prompt)):
            for event in response.events:
                if event.WhichOneof("event") == "signal":
                    yield _decode_request(event.signal, seed, number)
                    number += 1

    async def decode(self, job: decoder_service_pb2.DecodeRequest) -> decoder_service_pb2.DecodeRequest.Input:
        """Call a decoder. Return the media, as the input of another decode."""
        data = bytearray()
        media_type = ""
        async for response in self._decoders[job.modality].Decode(job):
            for event in response.events:
                match event.WhichOneof("event"):
                    case "media":
                        media_type = event.media.media_type
                        data.extend(event.media.data)
                    case "chunk":
                        data.extend(event.chunk)
        return decoder_service_pb2.DecodeRequest.Input(media_type=media_type, data=bytes(data))


def _decode_request(signal: Any, seed: int, number: int) -> decoder_service_pb2.DecodeRequest:
    return decoder_service_pb2.DecodeRequest(
        modality=signal.modality, conditioning=signal.conditioning, seed=seed_of(seed, f"part-{number}")
    )


@asynccontextmanager
async def bare_stubs(deployment: RecordedDeployment) -> AsyncIterator[BareStubs]:
    """Yield stubs of the deployment's workers, on channels with the options of an orchestrator's channels."""
    manifest = deployment.config.manifest
    async with AsyncExitStack() as stack:
        channels = {
            worker: await stack.enter_async_context(open_channel(address, health="", retries=False))
            for worker, address in deployment.workers.items()
        }
        stubs = {
            modality: decoder_service_pb2_grpc.DecoderServiceStub(channels[modality]) for modality in manifest.signals
        }
        model = language_model_service_pb2_grpc.LanguageModelServiceStub(channels[LANGUAGE_MODEL])
        yield BareStubs(model, stubs, manifest.language_model.max_tokens, manifest.takes)
