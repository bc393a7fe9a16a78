"""The benchmark `encoder`: batched embeddings, and caches of embeddings and media."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import torch
from PIL import Image

from motet.caching.decoder import CachingDecoder, MediaCache
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
from motet.models.model_folder import ModelFolder
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import alternating, median, seconds_of
from services.factory import open_bundle

_CACHE_BYTES = 2**24
_STEPS = 8


def measure(bundle: str, items: int, rounds: int) -> Report:
    """Compare `items` simultaneous calls with calls in sequence, on one thread a tower."""
    torch.set_num_threads(1)
    return asyncio.run(_measure(open_bundle(bundle), items, rounds))


async def _measure(bundle: Bundle, items: int, rounds: int) -> Report:
    network = load_imagebind(ModelFolder.of(bundle, bundle.manifest.encoder.path))
    figures = [
        *await _batching(network, items, rounds),
        *await _vision_tower(network, items, rounds),
        *await _embedding_cache(network, version_of(bundle), items, rounds),
        *await _media_cache(bundle, items, rounds),
    ]
    return Report(
        "encoder",
        {"bundle": bundle.manifest.name, "items": items, "rounds": rounds, "steps": _STEPS},
        figures,
        [
            "Pictures are all different, except in the figures about caches. A child process decodes each picture.",
            "The tokens of one picture almost fill a core, so batches gain little in a tower. Decoding takes longest.",
        ],
    )


async def _batching(network: ImageBind, items: int, rounds: int) -> list[Figure]:
    encoder = ImageBindEncoder(network)
    pictures = _pictures()

    async def batched() -> None:
        await asyncio.gather(*(encoder.encode([next(pictures)], Deadline.never()) for _ in range(items)))

    async def sequential() -> None:
        for _ in range(items):
            await encoder.encode([next(pictures)], Deadline.never())

    await sequential()
    seconds = await _median_seconds(rounds, {"batched": batched, "sequential": sequential})
    encoder.close()
    baseline = Baseline("one by one", items / seconds["sequential"])
    return [Figure(f"pictures per second, {items} calls at a time", items / seconds["batched"], "1/s", baseline)]


async def _vision_tower(network: ImageBind, items: int, rounds: int) -> list[Figure]:
    """Measure the vision tower alone, without decoding and cropping."""
    batcher = Batcher("bench", lambda views: network("vision", views), rows=items)
    size = network.config.vision.size
    views = [Views(torch.randn(1, 3, 2, size, size), torch.ones(1)) for _ in range(items)]
    from_batch: list[torch.Tensor] = []
    alone: list[torch.Tensor] = []

    async def batched() -> None:
        embeddings = await asyncio.gather(*map(batcher.embedding, views))
        from_batch[:] = [to_torch(embedding) for embedding in embeddings]

    async def sequential() -> None:
        alone[:] = [to_torch(await batcher.embedding(view)) for view in views]

    seconds = await _median_seconds(3 * rounds, {"batched": batched, "sequential": sequential})
    batcher.close()
    difference = max(float((a - b).abs().max()) for a, b in zip(from_batch, alone, strict=True))
    baseline = Baseline("one by one", items / seconds["sequential"])
    return [
        Figure("views per second through the vision tower", items / seconds["batched"], "1/s", baseline),
        Figure("difference of an embedding in a batch and alone", difference, "", bar=at_most(1e-4)),
    ]


async def _embedding_cache(network: ImageBind, version: str, items: int, rounds: int) -> list[Figure]:
    forwards = 0

    def count_forward(*_: object) -> None:
        nonlocal forwards
        forwards += 1

    hook = network.modality_trunks["vision"].register_forward_hook(count_forward)
    inner = ImageBindEncoder(network)
    encoder = CachingEncoder(inner, version, EmbeddingCache(_CACHE_BYTES))
    pictures = _pictures()
    picture = next(pictures)
    await asyncio.gather(*(encoder.encode([picture], Deadline.never()) for _ in range(items)))
    shared = forwards

    async def hit() -> None:
        await encoder.encode([picture], Deadline.never())

    async def miss() -> None:
        await encoder.encode([next(pictures)], Deadline.never())

    seconds = await _median_seconds(5 * rounds, {"hit": hit, "miss": miss})
    hook.remove()
    inner.close()
    baseline = Baseline("cache miss", seconds["miss"] * 1e3)
    return [
        Figure("picture, cache hit", seconds["hit"] * 1e3, "ms", baseline, at_most(0.1)),
        Figure(f"forwards for {items} equal pictures at once", shared, "forwards", bar=at_most(1)),
    ]


async def _media_cache(bundle: Bundle, items: int, rounds: int) -> list[Figure]:
    modality = next(iter(bundle.manifest.signals))
    inner = load_decoder(bundle, modality)
    decoder = CachingDecoder(inner, bundle.digest, MediaCache(_CACHE_BYTES))
    shape = bundle.manifest.decoder_of(modality).conditioning
    job = DecodeJob(modality, from_torch(torch.zeros(shape)), seed=0, steps=_STEPS)
    seeds = count(1)

    async def decode(job: DecodeJob) -> None:
        async with closing(decoder.decode(job, Deadline.never())) as events:
            async for _ in events:
                pass

    async def hit() -> None:
        await decode(job)

    async def miss() -> None:
        await decode(replace(job, seed=next(seeds)))

    async def equal_jobs() -> None:
        same = replace(job, seed=next(seeds))
        await asyncio.gather(*(decode(same) for _ in range(items)))

    await decode(job)
    seconds = await _median_seconds(rounds, {"hit": hit, "miss": miss, "equal": equal_jobs})
    inner.close()
    baseline = Baseline("cache miss", seconds["miss"] * 1e3)
    return [
        Figure("media, cache hit", seconds["hit"] * 1e3, "ms", baseline, at_most(0.1)),
        Figure(f"{items} equal media at once", seconds["equal"] * 1e3, "ms", baseline, at_most(1.5)),
    ]


async def _median_seconds(rounds: int, candidates: Mapping[str, Callable[[], Awaitable[None]]]) -> dict[str, float]:
    """Return the median seconds of each candidate."""
    samples = await alternating(rounds, {name: partial(seconds_of, work) for name, work in candidates.items()})
    return {name: median(each) for name, each in samples.items()}


def _pictures() -> Iterator[Media]:
    """Yield pictures without end. No two are equal."""
    rng = np.random.default_rng(0)
    while True:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (96, 128, 3), np.uint8)).save(buffer, "PNG")
        yield Media("image/png", buffer.getvalue())
