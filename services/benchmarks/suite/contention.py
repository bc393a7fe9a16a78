"""Text and media on one machine: what decoders at work do to the text, and what giving way to it costs the media."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
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
from services.benchmarks.load.client_trace import listen, request_of
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import median
from services.benchmarks.suite.overlap import ASKED
from services.up import LocalDeployment, deployment_of

BACKGROUND, EQUAL = "decoders in the background", "decoders as equals"

_TALK = "What can you do? Tell me all of it."
_TEXTS = 5
"""Answers that are waited for with nothing beside."""

_FREE, _BESIDE = 0.6, 1.2
"""Seconds for which decoders work alone, and for which text is written beside them."""

_SETTLE = 0.3
"""Seconds until what was begun is over, and processors are as before."""


def measure(bundle: str = "nano", rounds: int = 3) -> Report:
    """Rounds of text alone, text beside decoders, and both asked for at once."""
    return asyncio.run(_measure(bundle, rounds))


@dataclass(slots=True)
class Found:
    """What was measured of one deployment.

    Milliseconds a token without and with decoders at work, the share of their steps that decoders take meanwhile, and
    seconds for text and media from one prompt.
    """

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)


async def _measure(bundle: str, rounds: int) -> Report:
    found = {name: Found() for name in (BACKGROUND, EQUAL)}
    async with AsyncExitStack() as stack:
        stages = {name: await stack.enter_async_context(_up(bundle, name == BACKGROUND)) for name in found}
        for number in range(rounds + 1):
            for name, stage in list(stages.items())[:: -1 if number % 2 else 1]:
                # The first round only warms up.
                await stage.play(found[name] if number else Found(), number)
    return report(found, {"bundle": bundle, "rounds": rounds})


def report(found: Mapping[str, Found], settings: Mapping[str, Any]) -> Report:
    """What follows from what was measured."""
    back, equal = found[BACKGROUND], found[EQUAL]
    beside, many = "text while three decoders work", "text and three media from one prompt"
    figures = [
        Figure(beside, median(back.beside), "ms/token", Baseline("text alone", median(back.alone)), at_most(1.3)),
        Figure(f"{beside}, {EQUAL}", median(equal.beside), "ms/token", Baseline("text alone", median(equal.alone))),
        Figure(many, median(back.total), "s", Baseline(EQUAL, median(equal.total))),
        Figure("steps kept beside text", 100 * median(back.kept), "%", Baseline(EQUAL, 100 * median(equal.kept))),
    ]
    notes = [
        "All processes of two `motet up`, one of them with `--no-background`, in turns. Decoders work without a pause; "
        "their steps are counted while text is written without a pause, against those with no text at all.",
        "With fewer processors than processes, what one decoder does to caches and memory is the least that text "
        "can suffer.",
    ]
    details = {name: {"alone": one.alone, "beside": one.beside, "total": one.total} for name, one in found.items()}
    return Report("beside", settings, figures, notes, details)


@dataclass(frozen=True, slots=True)
class Stage:
    """A running Motet, and jobs that keep its decoders at work."""

    motet: Motet
    decoders: Mapping[str, Decoder]
    jobs: Mapping[str, DecodeJob]

    async def play(self, found: Found, seed: int) -> None:
        """One round."""
        found.alone += [await self._text() for _ in range(_TEXTS)]
        steps: Counter[str] = Counter()
        working = [asyncio.create_task(self._work(modality, steps)) for modality in self.jobs]
        await asyncio.sleep(_SETTLE)
        free = await _rates(steps, asyncio.sleep(_FREE))
        meanwhile = await _rates(steps, self._texts(found.beside))
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        found.kept += [meanwhile[modality] / rate for modality, rate in free.items()]
        await asyncio.sleep(_SETTLE)
        heard = await listen(self.motet, request_of(ASKED, seed))
        if not heard.whole or heard.total is None:
            raise RuntimeError(f"a request came to nothing: {heard.refused or heard.state}")
        found.total.append(heard.total)

    async def _text(self) -> float:
        request = GenerationRequest((Message("user", (_TALK,)),), seed=1, allowed_modalities=frozenset())
        heard = await listen(self.motet, request)
        assert heard.last_text is not None, heard
        return 1000 * heard.last_text / heard.tokens

    async def _texts(self, found: list[float]) -> None:
        begun = perf_counter()
        while perf_counter() - begun < _BESIDE:
            found.append(await self._text())

    async def _work(self, modality: str, steps: Counter[str]) -> None:
        while True:
            async for event in self.decoders[modality].decode(self.jobs[modality], Deadline.never()):
                steps[modality] += isinstance(event, Progress)


async def _rates(steps: Counter[str], meanwhile: Any) -> dict[str, float]:
    """Steps a second of each decoder until something is over."""
    before, begun = steps.copy(), perf_counter()
    await meanwhile
    seconds = perf_counter() - begun
    return {modality: (count - before[modality]) / seconds for modality, count in steps.items()}


@asynccontextmanager
async def _up(bundle: str, background: bool) -> AsyncIterator[Stage]:
    """What `motet up` starts, until it is drained."""
    deployment = deployment_of(bundle, 0, 1, False, 0.0, background=background)
    ensemble = LocalDeployment(deployment)
    try:
        ready = await ensemble.start()
        async with AsyncExitStack() as stack:
            motet = await stack.enter_async_context(Client(ready["orchestrator"].address))
            decoders = {}
            for modality in deployment.manifest.signals:
                at = ready[f"{modality} decoder"].address
                decoders[modality] = RemoteDecoder(await stack.enter_async_context(open_channel(at, health="")))
            yield Stage(motet, decoders, jobs_of(deployment.manifest))
    finally:
        await ensemble.drain()


def jobs_of(manifest: Manifest) -> dict[str, DecodeJob]:
    """A long job of each modality."""
    jobs = {}
    for modality in manifest.signals:
        shape = tuple(manifest.decoder_of(modality).conditioning)
        jobs[modality] = DecodeJob(modality, Tensor("float32", shape, bytes(4 * prod(shape))), 0, steps=1000)
    return jobs
