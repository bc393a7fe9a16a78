"""The benchmark `contention`: text and media on one machine, with decoders at low and at normal CPU priority."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import prod
from time import perf_counter
from typing import Any

from motet.client import Client
from motet.core.bundle import Manifest
from motet.core.deadline import Deadline
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, Progress
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from services.benchmarks.load.client_trace import text_request, trace_request
from services.benchmarks.load.conversations import THREE_MEDIA
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import alternating, median
from services.up.deployment import deployment_of
from services.up.local_deployment import LocalDeployment

BACKGROUND, NORMAL = "decoders in the background", "decoders at normal priority"

_TEXT_PROMPT = "What can you do? Tell me all of it."
_TEXT_RESPONSES = 5
"""Number of text responses in a round while decoders are idle."""

_DECODER_SECONDS = 0.6
"""Seconds in a round during which decoders run and no text is generated."""

_CONTENTION_SECONDS = 1.2
"""Seconds in a round during which decoders run and text is generated."""

_SETTLE = 0.3
"""Seconds after which started or stopped work no longer affects the next measurement."""


def measure(bundle: str, rounds: int) -> Report:
    """Measure rounds of text alone, of text beside decoders, and of one prompt for text and media."""
    return asyncio.run(_measure(bundle, rounds))


@dataclass(slots=True)
class ContentionSamples:
    """The samples of one deployment.

    `alone` and `beside` are milliseconds a token without and with running decoders. `steps_kept` is the rate of
    denoising steps with text, divided by the rate without text. `total` is the seconds of a request for text and media.
    """

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    steps_kept: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)

    @classmethod
    def merged(cls, samples: Sequence[ContentionSamples]) -> ContentionSamples:
        """Return the samples of several rounds as one."""
        merged = cls()
        for one in samples:
            merged.alone += one.alone
            merged.beside += one.beside
            merged.steps_kept += one.steps_kept
            merged.total += one.total
        return merged


async def _measure(bundle: str, rounds: int) -> Report:
    async with AsyncExitStack() as stack:
        candidates = {}
        for name in (BACKGROUND, NORMAL):
            deployment = await stack.enter_async_context(_deployment(bundle, name == BACKGROUND))
            candidates[name] = partial(deployment.measure_round, count())
        samples = await alternating(rounds, candidates, warmup=1)
    merged = {name: ContentionSamples.merged(one) for name, one in samples.items()}
    return report(merged, {"bundle": bundle, "rounds": rounds})


def report(samples: Mapping[str, ContentionSamples], settings: Mapping[str, Any]) -> Report:
    """Return the report of the samples of both deployments."""
    background, normal = samples[BACKGROUND], samples[NORMAL]
    beside = "text beside three running decoders"
    figures = [
        Figure(
            beside,
            median(background.beside),
            "ms/token",
            Baseline("text alone", median(background.alone)),
            at_most(1.3),
        ),
        Figure(f"{beside}, {NORMAL}", median(normal.beside), "ms/token", Baseline("text alone", median(normal.alone))),
        Figure(
            "text and three media from one prompt",
            median(background.total),
            "s",
            Baseline(NORMAL, median(normal.total)),
        ),
        Figure(
            "rate of denoising steps beside text",
            100 * median(background.steps_kept),
            "%",
            Baseline(NORMAL, 100 * median(normal.steps_kept)),
        ),
    ]
    notes = [
        "Two deployments of `motet up` alternate, one of them with `--no-background`. Decoders and text run without "
        "pauses. The rate of denoising steps is in percent of the rate without text.",
        "With fewer cores than processes, text is slower by at least the effect of a decoder on caches and memory.",
    ]
    details = {name: {"alone": one.alone, "beside": one.beside, "total": one.total} for name, one in samples.items()}
    return Report("contention", settings, figures, notes, details)


@dataclass(frozen=True, slots=True)
class ContentionDeployment:
    """A running deployment, its decoders, and a long job for each decoder."""

    motet: Motet
    decoders: Mapping[str, Decoder]
    jobs: Mapping[str, DecodeJob]

    async def measure_round(self, seeds: count[int]) -> ContentionSamples:
        """Measure one round."""
        samples = ContentionSamples()
        samples.alone += [await self._text() for _ in range(_TEXT_RESPONSES)]
        steps: Counter[str] = Counter()
        decoding = [asyncio.create_task(self._decode(modality, steps)) for modality in self.jobs]
        await asyncio.sleep(_SETTLE)
        free = await _rates(steps, asyncio.sleep(_DECODER_SECONDS))
        beside = await _rates(steps, self._texts(samples.beside))
        for task in decoding:
            task.cancel()
        await asyncio.gather(*decoding, return_exceptions=True)
        samples.steps_kept += [beside[modality] / rate for modality, rate in free.items()]
        await asyncio.sleep(_SETTLE)
        trace = await trace_request(self.motet, text_request(THREE_MEDIA, next(seeds)))
        if not trace.succeeded or trace.total is None:
            raise RuntimeError(f"a request failed: {trace.failure}")
        samples.total.append(trace.total)
        return samples

    async def _text(self) -> float:
        """Return the milliseconds a token of one text response."""
        request = GenerationRequest((Message("user", (_TEXT_PROMPT,)),), seed=1, allowed_modalities=frozenset())
        trace = await trace_request(self.motet, request)
        assert trace.last_text is not None, trace
        return 1000 * trace.last_text / trace.tokens

    async def _texts(self, samples: list[float]) -> None:
        start = perf_counter()
        while perf_counter() - start < _CONTENTION_SECONDS:
            samples.append(await self._text())

    async def _decode(self, modality: str, steps: Counter[str]) -> None:
        """Run jobs until cancelled, and count their denoising steps."""
        while True:
            async for event in self.decoders[modality].decode(self.jobs[modality], Deadline.never()):
                steps[modality] += isinstance(event, Progress)


async def _rates(steps: Counter[str], work: Awaitable[object]) -> dict[str, float]:
    """Return the denoising steps a second of each decoder until `work` completes."""
    before, start = steps.copy(), perf_counter()
    await work
    seconds = perf_counter() - start
    return {modality: (number - before[modality]) / seconds for modality, number in steps.items()}


@asynccontextmanager
async def _deployment(bundle: str, background: bool) -> AsyncIterator[ContentionDeployment]:
    """Start the processes of `motet up`, and drain them at the end."""
    deployment = deployment_of(bundle, 0, 1, False, 0.0, background=background)
    processes = LocalDeployment(deployment)
    try:
        ready = await processes.start()
        async with AsyncExitStack() as stack:
            motet = await stack.enter_async_context(Client(ready["orchestrator"].address))
            decoders = {}
            for modality in deployment.manifest.independent:
                address = ready[f"{modality} decoder"].address
                decoders[modality] = RemoteDecoder(
                    await stack.enter_async_context(open_channel(address, health="", retries=False))
                )
            yield ContentionDeployment(motet, decoders, long_jobs(deployment.manifest))
    finally:
        await processes.drain(asyncio.Event())


def long_jobs(manifest: Manifest) -> dict[str, DecodeJob]:
    """Return a job of 1000 denoising steps for each modality."""
    jobs = {}
    for modality in manifest.independent:
        shape = tuple(manifest.decoder_of(modality).conditioning)
        jobs[modality] = DecodeJob(modality, Tensor("float32", shape, bytes(4 * prod(shape))), 0, steps=1000)
    return jobs
