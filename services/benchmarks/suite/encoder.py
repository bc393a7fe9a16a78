"""What it saves to embed media of many requests together, and to do equal work once."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import torch
from PIL import Image

from motet.caching.decoder import CachingDecoder, Finished
from motet.caching.encoder import CachingEncoder, EmbeddingCache
from motet.core.bundle import Bundle
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.workers import DecodeJob
from motet.models.arrays import from_torch, to_torch
from motet.models.diffusion.decoder import load_decoder
from motet.models.encoder.batcher import Batcher
from motet.models.encoder.imagebind import ImageBindEncoder, load_imagebind, version_of
from motet.models.encoder.network import ImageBind
from motet.models.encoder.preprocessing import Views
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import median, seconds_until
from services.factory import open_bundle

_MEMORY = 2**24
_STEPS = 8


def measure(bundle: str = "nano", items: int = 8, rounds: int = 4) -> Report:
    """So many items at a time against one by one, in rounds that take turns; all on one thread a tower."""
    torch.set_num_threads(1)
    return asyncio.run(_measure(open_bundle(bundle), items, rounds))


async def _measure(bundle: Bundle, items: int, rounds: int) -> Report:
    network = load_imagebind(bundle.path(bundle.manifest.encoder.path))
    figures = [
        *await _together(network, items, rounds),
        *await _tower(network, items, rounds),
        *await _once(network, version_of(bundle), items, rounds),
        *await _media(bundle, items, rounds),
    ]
    return Report(
        "encoder",
        {"bundle": bundle.manifest.name, "items": items, "rounds": rounds, "steps": _STEPS},
        figures,
        [
            "Every picture is new where nothing else is said; each is decoded in a child process of its own.",
            "One picture's tokens nearly fill a core: a tower gains little by batches; decoding takes longest.",
        ],
    )


async def _together(network: ImageBind, items: int, rounds: int) -> list[Figure]:
    encoder = ImageBindEncoder(network)
    pictures = _pictures()

    async def together() -> None:
        await asyncio.gather(*(encoder.encode([next(pictures)], Deadline.never()) for _ in range(items)))

    async def one_by_one() -> None:
        for _ in range(items):
            await encoder.encode([next(pictures)], Deadline.never())

    await one_by_one()
    many, one = await _in_turns(rounds, together, one_by_one)
    encoder.close()
    baseline = Baseline("one by one", items / one)
    return [Figure(f"pictures per second, {items} callers at a time", items / many, "1/s", baseline)]


async def _tower(network: ImageBind, items: int, rounds: int) -> list[Figure]:
    """The vision tower alone: no decoding, no cutting."""
    queue = Batcher("bench", lambda views: network("vision", views), rows=items)
    size = network.config.vision.size
    views = [Views(torch.randn(1, 3, 2, size, size), torch.ones(1)) for _ in range(items)]
    found: list[torch.Tensor] = []
    alone: list[torch.Tensor] = []

    async def together() -> None:
        found[:] = [to_torch(one) for one in await asyncio.gather(*map(queue.embedding, views))]

    async def one_by_one() -> None:
        alone[:] = [to_torch(await queue.embedding(view)) for view in views]

    many, one = await _in_turns(3 * rounds, together, one_by_one)
    queue.close()
    influence = max(float((a - b).abs().max()) for a, b in zip(found, alone, strict=True))
    return [
        Figure("views per second through the vision tower", items / many, "1/s", Baseline("one by one", items / one)),
        Figure("neighbours' influence on an embedding", influence, "", bar=at_most(1e-4)),
    ]


async def _once(network: ImageBind, version: str, items: int, rounds: int) -> list[Figure]:
    passes = 0

    def passed(*_: object) -> None:
        nonlocal passes
        passes += 1

    hook = network.modality_trunks["vision"].register_forward_hook(passed)
    inner = ImageBindEncoder(network)
    encoder = CachingEncoder(inner, version, EmbeddingCache(_MEMORY))
    pictures = _pictures()
    picture = next(pictures)
    await asyncio.gather(*(encoder.encode([picture], Deadline.never()) for _ in range(items)))
    shared = passes

    async def known() -> None:
        await encoder.encode([picture], Deadline.never())

    async def new() -> None:
        await encoder.encode([next(pictures)], Deadline.never())

    hit, miss = await _in_turns(5 * rounds, known, new)
    hook.remove()
    inner.close()
    return [
        Figure("a picture that is known", hit * 1e3, "ms", Baseline("one that is new", miss * 1e3), at_most(0.1)),
        Figure(f"passes for {items} equal pictures at once", shared, "passes", bar=at_most(1)),
    ]


async def _media(bundle: Bundle, items: int, rounds: int) -> list[Figure]:
    modality = next(iter(bundle.manifest.signals))
    inner = load_decoder(bundle, modality)
    decoder = CachingDecoder(inner, bundle.digest, Finished(_MEMORY))
    shape = bundle.manifest.decoder_of(modality).conditioning
    job = DecodeJob(modality, from_torch(torch.zeros(shape)), seed=0, steps=_STEPS)
    seeds = count(1)

    async def made(job: DecodeJob) -> None:
        async with closing(decoder.decode(job, Deadline.never())) as events:
            async for _ in events:
                pass

    async def again() -> None:
        await made(job)

    async def first() -> None:
        await made(replace(job, seed=next(seeds)))

    async def equal() -> None:
        same = replace(job, seed=next(seeds))
        await asyncio.gather(*(made(same) for _ in range(items)))

    await made(job)
    repeated, new, together = await _in_turns(rounds, again, first, equal)
    inner.close()
    one = Baseline("a new one", new * 1e3)
    return [
        Figure("media that were made before", repeated * 1e3, "ms", one, at_most(0.1)),
        Figure(f"{items} equal media at once", together * 1e3, "ms", one, at_most(1.5)),
    ]


async def _in_turns(rounds: int, *candidates: Callable[[], Awaitable[None]]) -> list[float]:
    """The median seconds of each; in every other round they go backwards."""
    found: list[list[float]] = [[] for _ in candidates]
    for number in range(rounds):
        for place in list(range(len(candidates)))[:: -1 if number % 2 else 1]:
            found[place].append(await seconds_until(candidates[place]()))
    return [median(seconds) for seconds in found]


def _pictures() -> Iterator[Media]:
    """Pictures without end, no two of them equal."""
    rng = np.random.default_rng(0)
    while True:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (96, 128, 3), np.uint8)).save(buffer, "PNG")
        yield Media("image/png", buffer.getvalue())
