"""The diffusion engine on the pictures of the nano bundle: sharing steps, and leaving between them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob
from motet.media import encode
from motet.models.diffusion.decoder import load_decoder
from motet.models.diffusion.loading import load_component
from motet.models.diffusion.model import DenoisingState
from services.benchmarks.models.stock_libraries import pipeline_of
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import alternating, median, seconds_of
from services.factory import open_bundle

PICTURE = "image"
_AT_ONCE, _LOAD = 8, 0.7
_KINDS_OF_STEPS = (5, 10, 25)
_STEPS = 20
_LEAVING = 10


def measure(rounds: int = 3, arrivals: int = 100, seed: int = 0) -> Report:
    """Pictures a second, latency under Poisson arrivals, neighbours' influence, cancelling."""
    torch.set_num_threads(1)
    bench = _Bench(open_bundle("nano", ()), seed)
    try:
        figures = [bench.throughput(rounds), bench.poisson(arrivals), bench.influence(), *bench.cancelling()]
        costs = {size: asdict(cost) for size, cost in bench.curve.costs.items()}
    finally:
        bench.decoder.close()
    return Report(
        "diffusion",
        {"rounds": rounds, "arrivals": arrivals, "seed": seed, "threads": 1},
        figures,
        [
            f"Arrivals: steps of {_KINDS_OF_STEPS}, at {_LOAD:.0%} of what the fastest batch size can bear. Batches of "
            "whole requests hold requests of equal steps, the oldest's: a pipeline's call has one number. Simulated "
            "with other arrivals, as many, the ratio has a standard deviation of 0.04; with 30, of 0.07.",
        ],
        {"cost curve": costs},
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request: when it comes, in seconds, and what it wants."""

    at: float
    job: DecodeJob


class _Bench:
    """A picture decoder that knows its costs, and what is measured of it."""

    def __init__(self, bundle: Bundle, seed: int) -> None:
        self.bundle, self.random = bundle, random.Random(seed)
        self.shape = tuple(bundle.manifest.decoder_of(PICTURE).conditioning)
        self.decoder = load_decoder(bundle, PICTURE)
        self.choir = self.decoder._choir
        self.singer: Any = self.choir._singer
        # Long enough for every size to be tried.
        asyncio.run(self.together([self.job(n, 50) for n in range(_AT_ONCE)]))
        self.curve = self.choir._curves[2]

    def job(self, number: int, steps: int = _STEPS, guidance: float | None = None) -> DecodeJob:
        told = np.random.default_rng(number).standard_normal(self.shape, "f4")
        return DecodeJob(PICTURE, Tensor("float32", self.shape, told.tobytes()), number, steps, guidance)

    async def one(self, job: DecodeJob) -> None:
        async for _ in self.decoder.decode(job, Deadline.never()):
            pass

    async def together(self, jobs: Sequence[DecodeJob]) -> None:
        await asyncio.gather(*(self.one(job) for job in jobs))

    def song(self, job: DecodeJob) -> DenoisingState:
        conditioning, steps, guidance = self.decoder._checked(job)
        song: DenoisingState = self.singer.prepare(conditioning, job.seed, steps, guidance)
        return song

    def throughput(self, rounds: int) -> Figure:
        """Concurrent pictures against the library's pipeline, one after another."""
        # A network as the library has it. It is asked for latents, and takes no autoencoder of a kind it does not know.
        entry = self.bundle.manifest.decoder_of(PICTURE)
        unet = load_component(self.bundle.path(entry.shared.get("unet", f"{entry.path}/unet")))
        pipeline = pipeline_of(PICTURE, SimpleNamespace(unet=unet, scheduler=self.singer.scheduler, vae=None))
        jobs = [self.job(n) for n in range(_AT_ONCE)]

        def motet() -> float:
            return len(jobs) / seconds_of(lambda: asyncio.run(self.together(jobs)))

        @torch.inference_mode()
        def stock() -> float:
            began = time.perf_counter()
            for job in jobs:
                song = self.song(job)
                side = 8 * song.latents.shape[-1]
                song.latents = pipeline(
                    prompt_embeds=song.embeddings[1:],
                    negative_prompt_embeds=song.embeddings[:1],
                    latents=song.latents,
                    num_inference_steps=_STEPS,
                    guidance_scale=entry.guidance,
                    height=side,
                    width=side,
                    output_type="latent",
                ).images
                encode.encode_picture(self.singer.finish(song))
            return len(jobs) / (time.perf_counter() - began)

        found = alternating(rounds + 1, {"motet": motet, "stock": stock})
        rates = {name: median(samples[1:]) for name, samples in found.items()}
        baseline = Baseline("diffusers' pipeline, one by one", rates["stock"])
        return Figure("eight pictures at once", rates["motet"], "pictures/s", baseline, at_least(1.0))

    def poisson(self, count: int) -> Figure:
        """Mean latency against whole requests in batches, for the same arrivals."""
        costs = self.curve.costs
        size = max(filter(self.curve.allows, costs), key=lambda size: costs[size].gain, default=1)
        step = costs[size].together if size in costs else self.curve.pace(1) or 1.0
        rate = _LOAD * size / (step * sum(_KINDS_OF_STEPS) / len(_KINDS_OF_STEPS))
        at, arrivals = 0.0, []
        for number in range(count):
            at += self.random.expovariate(rate)
            arrivals.append(Arrival(at, self.job(number, self.random.choice(_KINDS_OF_STEPS))))
        motet = asyncio.run(_offered(arrivals, self.one))
        whole = asyncio.run(self._whole(arrivals, size))
        return Figure("mean latency", motet, "s", Baseline("whole requests in batches", whole), at_most(0.7))

    async def _whole(self, arrivals: Sequence[Arrival], size: int) -> float:
        """The same engine's pieces, but a batch is formed when the machine is free, and runs to its end."""
        waiting: list[tuple[DecodeJob, asyncio.Future[None]]] = []
        came = asyncio.Event()

        async def one(job: DecodeJob) -> None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append((job, done))
            came.set()
            await done

        async def serve() -> None:
            while True:
                await came.wait()
                while waiting:
                    batch = [each for each in waiting if each[0].steps == waiting[0][0].steps][:size]
                    await asyncio.to_thread(self._sung, [job for job, _ in batch])
                    for each in batch:
                        waiting.remove(each)
                        each[1].set_result(None)
                came.clear()

        server = asyncio.create_task(serve())
        try:
            return await _offered(arrivals, one)
        finally:
            server.cancel()

    def _sung(self, jobs: Sequence[DecodeJob]) -> None:
        songs = [self.song(job) for job in jobs]
        while songs[0].step < songs[0].total:
            self.singer.step(*songs)
        for song in songs:
            encode.encode_picture(self.singer.finish(song))

    def influence(self) -> Figure:
        """The largest difference that company makes to any number of a finished latent."""
        ends: dict[int, torch.Tensor] = {}
        finish = self.singer.finish

        def noted(song: DenoisingState) -> Any:
            ends[song.generator.initial_seed()] = song.latents
            return finish(song)

        jobs = [self.job(n, 10 + n, 2.0 + n / 2) for n in range(_AT_ONCE)]
        self.singer.finish = noted
        try:
            for job in jobs:
                asyncio.run(self.one(job))
            alone = dict(ends)
            asyncio.run(self.together(jobs))
        finally:
            self.singer.finish = finish
        worst = max(float((alone[seed] - ends[seed]).abs().max()) for seed in alone)
        return Figure("neighbours' influence on a result", worst, "", None, at_most(1e-4))

    def cancelling(self) -> list[Figure]:
        """How long steps go on once nobody wants them, and which share of all work that is."""
        ends: list[float] = []
        steps: list[float] = []
        predict = self.singer.predict

        def noted(songs: Sequence[DenoisingState]) -> Any:
            began = time.perf_counter()
            predicted = predict(songs)
            ends.append(time.perf_counter())
            steps.append(ends[-1] - began)
            return predicted

        async def left() -> float:
            task = asyncio.create_task(self.one(self.job(0)))
            await asyncio.sleep(self.random.uniform(0.2, 0.8) * _STEPS * median(steps))
            cancelled = time.perf_counter()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.to_thread(self._idle)
            return max(0.0, ends[-1] - cancelled)

        self.singer.predict = noted
        try:
            for _ in range(2):
                asyncio.run(self.one(self.job(0)))
            wasted = [asyncio.run(left()) for _ in range(_LEAVING)]
        finally:
            self.singer.predict = predict
        whole = _STEPS * median(steps)
        share = sum(wasted) / (sum(steps[2 * _STEPS :]) + _LEAVING * (_LEAVING - 1) * whole)
        beyond = 1000 * max(0.0, max(wasted) - median(steps))
        return [
            Figure("cancel to idle, beyond one step, worst of ten", beyond, "ms", None, at_most(50)),
            Figure("work wasted where one caller in ten leaves", 100 * share, "%", None, at_most(1)),
        ]

    def _idle(self) -> None:
        while not self.choir.idle:
            time.sleep(0.001)


async def _offered(arrivals: Sequence[Arrival], one: Any) -> float:
    """Mean seconds from a request's arrival to its media."""
    began = time.perf_counter()

    async def served(arrival: Arrival) -> float:
        await asyncio.sleep(max(0.0, began + arrival.at - time.perf_counter()))
        await one(arrival.job)
        return time.perf_counter() - began - arrival.at

    latencies = await asyncio.gather(*(served(arrival) for arrival in arrivals))
    return sum(latencies) / len(latencies)
