"""How long a bundle's workers take on this machine, by how many calls share them: what `simulate` draws from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from motet.core.clock import now
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import SettingsError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, LanguageModel, Prompt, Signal, SignalStarted, TextPiece, Turn
from services.benchmarks.reports.report import Figure, Report
from services.benchmarks.reports.statistics import median
from services.benchmarks.simulation.measured_costs import Costs, Curve
from services.benchmarks.suite.overlap import ASKED
from services.factory import Factory, open_bundle

Item = TypeVar("Item")

SIZES = (1, 2, 4, 8)
"""Calls at a time."""

_STEPS = 6
"""Of each piece of media: one step takes as long as another."""


def measure(bundle: str = "nano", sizes: Sequence[int] = SIZES, repeats: int = 2, threads: int = 1) -> Report:
    """Have each worker do the same so many times at once, `repeats` times after one that only warms up.

    Raises `SettingsError` for a bundle that does not ask for one of its modalities when told to.
    """
    factory = Factory.of_bundle(open_bundle(bundle), threads)
    costs = asyncio.run(_measured(factory, sizes, repeats))
    figures = [Figure("until the first token", median(costs.prompt) * 1e3, "ms")]
    for size in sizes:
        figures.append(Figure(f"a token of each of {size}", median(costs.token.samples[size]) * 1e3, "ms"))
    for modality, curve in costs.step.items():
        for size in sizes:
            figures.append(Figure(f"a step of each of {size}, {modality}", median(curve.samples[size]) * 1e3, "ms"))
        figures.append(Figure(f"from last step to media, {modality}", median(costs.finish[modality]) * 1e3, "ms"))
    return Report(
        "calibrate",
        {"bundle": bundle, "sizes": list(sizes), "repeats": repeats, "threads": threads},
        figures,
        ["Where a worker does not batch, a token or step of each of so many takes so many times as long."],
        {"costs": costs.as_dict()},
    )


async def _measured(factory: Factory, sizes: Sequence[int], repeats: int) -> Costs:
    manifest = factory.manifest
    model = await asyncio.to_thread(factory.language_model)
    ceilings = dict.fromkeys(manifest.signals, 1)
    prompt = Prompt((Turn("user", (ASKED,)),), ceilings, manifest.language_model.max_tokens)
    firsts: list[float] = []
    tokens: dict[int, list[float]] = {}
    wanted: dict[str, Tensor] = {}
    for size in sizes:
        tokens[size] = []
        for number in range(repeats + 1):
            for writing in await asyncio.gather(*(_written(model, prompt) for _ in range(size))):
                wanted |= writing.wanted
                if number:
                    tokens[size].append(writing.token)
                    firsts += [writing.first] if size == 1 else []
    if missing := manifest.signals.keys() - wanted.keys():
        raise SettingsError(f"{manifest.name} was asked for everything and did not make {', '.join(sorted(missing))}")
    steps: dict[str, Curve] = {}
    finish: dict[str, list[float]] = {}
    for modality in manifest.signals:
        decoder = await asyncio.to_thread(factory.decoder, modality)
        steps[modality], finish[modality] = await _decoder(decoder, modality, wanted[modality], sizes, repeats)
    return Costs(firsts, Curve(tokens), steps, finish)


class _Writing:
    """One answer: seconds until its first token, seconds a token from there on, and the conditioning it gave."""

    def __init__(self, first: float, token: float, wanted: dict[str, Tensor]) -> None:
        self.first, self.token, self.wanted = first, token, wanted


async def _written(model: LanguageModel, prompt: Prompt) -> _Writing:
    outs = await _timed(model.generate(prompt, Deadline.never()))
    # A run is fed in one go: it counts as one token.
    tokens = [at for event, at in outs if isinstance(event, TextPiece | SignalStarted)]
    wanted = {event.modality: event.conditioning for event, _ in outs if isinstance(event, Signal)}
    return _Writing(tokens[0], (outs[-1][1] - tokens[0]) / max(1, len(tokens) - 1), wanted)


async def _decoder(
    decoder: Decoder, modality: str, conditioning: Tensor, sizes: Sequence[int], repeats: int
) -> tuple[Curve, list[float]]:
    """Seconds a step by size, and from the last step to the media of one alone."""
    steps: dict[int, list[float]] = {}
    finishing: list[float] = []
    seed = 0
    for size in sizes:
        steps[size] = []
        for number in range(repeats + 1):
            jobs = [DecodeJob(modality, conditioning, seed + place, _STEPS) for place in range(size)]
            seed += size
            made = await asyncio.gather(*(_timed(decoder.decode(job, Deadline.never())) for job in jobs))
            for outs in made if number else ():
                at = [moment for event, moment in outs if not isinstance(event, Media)]
                steps[size].append((at[-1] - at[0]) / max(1, len(at) - 1))
                finishing += [outs[-1][1] - at[-1]] if size == 1 else []
    return Curve(steps), finishing


async def _timed(stream: AsyncIterator[Item]) -> list[tuple[Item, float]]:
    """What a worker says, and after how many seconds."""
    begun = now()
    async with closing(stream) as items:
        return [(item, now() - begun) async for item in items]
