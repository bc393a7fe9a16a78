"""The benchmark `calibrate`: the times of a bundle's workers by batch size, from which `simulate` samples."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from motet.core.clock import now
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import SettingsError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, LanguageModel, Prompt, Signal, SignalStarted, TextPiece, Turn
from services.benchmarks.load.conversations import THREE_MEDIA
from services.benchmarks.reports.report import Figure, Report
from services.benchmarks.reports.statistics import median
from services.benchmarks.simulation.measured_costs import MeasuredCosts, TickCosts
from services.factory import Factory, open_bundle

Item = TypeVar("Item")

SIZES = (1, 2, 4, 8)
"""Batch sizes: the number of simultaneous calls."""

_STEPS = 6
"""Denoising steps of each job. All steps take the same time, so few are enough."""


def measure(bundle: str, repeats: int, sizes: Sequence[int] = SIZES, threads: int = 1) -> Report:
    """Run equal calls at each batch size, `repeats` times after one call for warm-up.

    Raises `SettingsError` for a bundle that does not generate all of its modalities when the prompt requests them.
    """
    factory = Factory.of_bundle(open_bundle(bundle), threads)
    costs = asyncio.run(_measure_costs(factory, sizes, repeats))
    figures = [Figure("time to first token", median(costs.prompt) * 1e3, "ms")]
    for size in sizes:
        figures.append(Figure(f"token, batch of {size}", median(costs.token.samples[size]) * 1e3, "ms"))
    for modality, steps in costs.step.items():
        for size in sizes:
            figures.append(Figure(f"{modality} step, batch of {size}", median(steps.samples[size]) * 1e3, "ms"))
        figures.append(Figure(f"{modality} from last step to media", median(costs.finish[modality]) * 1e3, "ms"))
    return Report(
        "calibrate",
        {"bundle": bundle, "sizes": list(sizes), "repeats": repeats, "threads": threads},
        figures,
        ["If a worker does not batch, a step of a batch takes as long as one step of each call in sequence."],
        {"costs": costs.as_dict()},
    )


async def _measure_costs(factory: Factory, sizes: Sequence[int], repeats: int) -> MeasuredCosts:
    manifest = factory.manifest
    model = await asyncio.to_thread(factory.language_model)
    ceilings = dict.fromkeys(manifest.independent, 1)
    prompt = Prompt((Turn("user", (THREE_MEDIA,)),), ceilings, manifest.language_model.max_tokens)
    first_tokens: list[float] = []
    tokens: dict[int, list[float]] = {}
    conditioning: dict[str, Tensor] = {}
    for size in sizes:
        tokens[size] = []
        for number in range(repeats + 1):
            for response in await asyncio.gather(*(_generate(model, prompt) for _ in range(size))):
                conditioning |= response.conditioning
                if number:
                    tokens[size].append(response.token)
                    first_tokens += [response.first] if size == 1 else []
    if missing := set(manifest.independent) - conditioning.keys():
        raise SettingsError(
            f"{manifest.name} did not generate {', '.join(sorted(missing))}: calibrate with a bundle that does"
        )
    steps: dict[str, TickCosts] = {}
    finish: dict[str, list[float]] = {}
    for modality in manifest.independent:
        decoder = await asyncio.to_thread(factory.decoder, modality)
        steps[modality], finish[modality] = await _measure_decoder(
            decoder, modality, conditioning[modality], sizes, repeats
        )
    return MeasuredCosts(first_tokens, TickCosts(tokens), steps, finish)


@dataclass(frozen=True, slots=True)
class _TimedResponse:
    """The seconds until the first token, the seconds of each later token, and the conditioning by modality."""

    first: float
    token: float
    conditioning: dict[str, Tensor]


async def _generate(model: LanguageModel, prompt: Prompt) -> _TimedResponse:
    events = await _timed_items(model.generate(prompt, Deadline.never()))
    # One forward feeds a whole run, so a run counts as one token.
    tokens = [at for event, at in events if isinstance(event, TextPiece | SignalStarted)]
    conditioning = {event.modality: event.conditioning for event, _ in events if isinstance(event, Signal)}
    return _TimedResponse(tokens[0], (events[-1][1] - tokens[0]) / max(1, len(tokens) - 1), conditioning)


async def _measure_decoder(
    decoder: Decoder, modality: str, conditioning: Tensor, sizes: Sequence[int], repeats: int
) -> tuple[TickCosts, list[float]]:
    """Return the seconds of a step by batch size, and the seconds from the last step to the media of a single job."""
    steps: dict[int, list[float]] = {}
    finish: list[float] = []
    seed = 0
    for size in sizes:
        steps[size] = []
        for number in range(repeats + 1):
            jobs = [DecodeJob(modality, conditioning, seed + index, _STEPS) for index in range(size)]
            seed += size
            decoded = await asyncio.gather(*(_timed_items(decoder.decode(job, Deadline.never())) for job in jobs))
            for events in decoded if number else ():
                times = [at for event, at in events if not isinstance(event, Media)]
                steps[size].append((times[-1] - times[0]) / max(1, len(times) - 1))
                finish += [events[-1][1] - times[-1]] if size == 1 else []
    return TickCosts(steps), finish


async def _timed_items(stream: AsyncIterator[Item]) -> list[tuple[Item, float]]:
    """Return the items of a stream, each with the seconds from the start to the item."""
    start = now()
    async with closing(stream) as items:
        return [(item, now() - start) async for item in items]
