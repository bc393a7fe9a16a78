"""The benchmark `diffusion`: shared denoising steps, latency under random arrivals, and cancellation."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
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
from motet.models.model_folder import ModelFolder
from services.benchmarks.models.stock_libraries import pipeline_of
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import alternating, median, seconds_of
from services.factory import open_bundle

PICTURE = "image"
_CONCURRENCY, _LOAD = 8, 0.7
_STEP_COUNTS = (5, 10, 25)
_STEPS = 20
_CANCELLATIONS = 10


def measure(rounds: int, arrivals: int, seed: int) -> Report:
    """Measure throughput, latency under Poisson arrivals, the effect of a batch on results, and cancellation."""
    torch.set_num_threads(1)
    bench = _DiffusionBenchmark(open_bundle("nano", ()), seed)
    try:
        figures = [bench.throughput(rounds), bench.latency(arrivals), bench.difference(), *bench.cancellation()]
        costs = {size: asdict(cost) for size, cost in bench.curve.costs.items()}
    finally:
        bench.decoder.close()
    return Report(
        "diffusion",
        {"rounds": rounds, "arrivals": arrivals, "seed": seed, "threads": 1},
        figures,
        [
            f"Arrivals have {_STEP_COUNTS} steps at random, at {_LOAD:.0%} of the throughput of the fastest batch "
            "size. A batch of whole requests holds requests with the same number of steps as the oldest, because a "
            "call of a pipeline has one number of steps. In simulations with other arrivals, the ratio has a standard "
            "deviation of 0.04 for 100 arrivals and of 0.07 for 30.",
        ],
        {"cost curve": costs},
    )


@dataclass(frozen=True, slots=True)
class JobArrival:
    """A decode job and its arrival in seconds."""

    at: float
    job: DecodeJob


class _DiffusionBenchmark:
    """A picture decoder with a measured cost curve, and the measurements of it."""

    def __init__(self, bundle: Bundle, seed: int) -> None:
        self.bundle, self.random = bundle, random.Random(seed)
        self.shape = tuple(bundle.manifest.decoder_of(PICTURE).conditioning)
        self.decoder = load_decoder(bundle, PICTURE)
        self.engine = self.decoder._engine
        self.model: Any = self.engine._model
        # 50 steps are enough for the engine to try every batch size.
        asyncio.run(self.decode_all([self.job(number, 50) for number in range(_CONCURRENCY)]))
        self.curve = self.engine._curves[2]

    def job(self, number: int, steps: int = _STEPS, guidance: float | None = None) -> DecodeJob:
        conditioning = np.random.default_rng(number).standard_normal(self.shape, "f4")
        return DecodeJob(PICTURE, Tensor("float32", self.shape, conditioning.tobytes()), number, steps, guidance)

    async def decode(self, job: DecodeJob) -> None:
        async for _ in self.decoder.decode(job, Deadline.never()):
            pass

    async def decode_all(self, jobs: Sequence[DecodeJob]) -> None:
        await asyncio.gather(*(self.decode(job) for job in jobs))

    def prepare(self, job: DecodeJob) -> DenoisingState:
        conditioning, steps, guidance = self.decoder._checked(job)
        state: DenoisingState = self.model.prepare(conditioning, job.seed, steps, guidance)
        return state

    def throughput(self, rounds: int) -> Figure:
        """Compare simultaneous pictures with the pipeline of diffusers, one picture after another."""
        # The pipeline gets the unmodified network. It returns latents, because it does not support the bundle's
        # autoencoder.
        entry = self.bundle.manifest.decoder_of(PICTURE)
        unet = load_component(ModelFolder.of(self.bundle, entry.shared.get("unet", f"{entry.path}/unet")))
        pipeline = pipeline_of(PICTURE, SimpleNamespace(unet=unet, scheduler=self.model.scheduler, vae=None))
        jobs = [self.job(number) for number in range(_CONCURRENCY)]

        async def motet() -> float:
            return len(jobs) / await seconds_of(lambda: self.decode_all(jobs))

        @torch.inference_mode()
        def run_pipeline() -> None:
            for job in jobs:
                state = self.prepare(job)
                side = 8 * state.latents.shape[-1]
                state.latents = pipeline(
                    prompt_embeds=state.embeddings[1:],
                    negative_prompt_embeds=state.embeddings[:1],
                    latents=state.latents,
                    num_inference_steps=_STEPS,
                    guidance_scale=entry.guidance,
                    height=side,
                    width=side,
                    output_type="latent",
                ).images
                encode.encode_picture(self.model.finish(state))

        async def diffusers() -> float:
            return len(jobs) / await seconds_of(run_pipeline)

        samples = asyncio.run(alternating(rounds, {"motet": motet, "diffusers": diffusers}, warmup=1))
        baseline = Baseline("diffusers' pipeline, one by one", median(samples["diffusers"]))
        name = f"pictures per second, {_CONCURRENCY} at a time"
        return Figure(name, median(samples["motet"]), "pictures/s", baseline, at_least(1.0))

    def latency(self, count: int) -> Figure:
        """Compare the mean latency with batches of whole requests, for the same arrivals."""
        costs = self.curve.costs
        size = max(filter(self.curve.allows, costs), key=lambda size: costs[size].gain, default=1)
        step = costs[size].batched_seconds if size in costs else self.curve.step_seconds(1) or 1.0
        rate = _LOAD * size / (step * sum(_STEP_COUNTS) / len(_STEP_COUNTS))
        at, arrivals = 0.0, []
        for number in range(count):
            at += self.random.expovariate(rate)
            arrivals.append(JobArrival(at, self.job(number, self.random.choice(_STEP_COUNTS))))
        motet = asyncio.run(_mean_latency(arrivals, self.decode))
        whole = asyncio.run(self._whole_request_batches(arrivals, size))
        return Figure("mean latency", motet, "s", Baseline("whole requests in batches", whole), at_most(0.7))

    async def _whole_request_batches(self, arrivals: Sequence[JobArrival], size: int) -> float:
        """Return the mean latency if a batch forms when the engine is free and then runs to its end."""
        waiting: list[tuple[DecodeJob, asyncio.Future[None]]] = []
        arrived = asyncio.Event()

        async def decode(job: DecodeJob) -> None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append((job, done))
            arrived.set()
            await done

        async def serve() -> None:
            while True:
                await arrived.wait()
                while waiting:
                    batch = [each for each in waiting if each[0].steps == waiting[0][0].steps][:size]
                    await asyncio.to_thread(self._run_batch, [job for job, _ in batch])
                    for each in batch:
                        waiting.remove(each)
                        each[1].set_result(None)
                arrived.clear()

        server = asyncio.create_task(serve())
        try:
            return await _mean_latency(arrivals, decode)
        finally:
            server.cancel()

    def _run_batch(self, jobs: Sequence[DecodeJob]) -> None:
        states = [self.prepare(job) for job in jobs]
        while states[0].step < states[0].total:
            self.model.step(*states)
        for state in states:
            encode.encode_picture(self.model.finish(state))

    def difference(self) -> Figure:
        """Measure the largest difference between the final latents of a job in a batch and alone."""
        latents: dict[int, torch.Tensor] = {}
        finish = self.model.finish

        def record_latents(state: DenoisingState) -> Any:
            latents[state.generator.initial_seed()] = state.latents
            return finish(state)

        jobs = [self.job(number, 10 + number, 2.0 + number / 2) for number in range(_CONCURRENCY)]
        self.model.finish = record_latents
        try:
            for job in jobs:
                asyncio.run(self.decode(job))
            alone = dict(latents)
            asyncio.run(self.decode_all(jobs))
        finally:
            self.model.finish = finish
        largest = max(float((alone[seed] - latents[seed]).abs().max()) for seed in alone)
        return Figure("difference of a result in a batch and alone", largest, "", None, at_most(1e-4))

    def cancellation(self) -> list[Figure]:
        """Measure the seconds of work after cancellation, and their share in all work."""
        ends: list[float] = []
        steps: list[float] = []
        predict = self.model.predict

        def record_step(states: Sequence[DenoisingState]) -> Any:
            start = time.perf_counter()
            predicted = predict(states)
            ends.append(time.perf_counter())
            steps.append(ends[-1] - start)
            return predicted

        async def cancel() -> float:
            task = asyncio.create_task(self.decode(self.job(0)))
            await asyncio.sleep(self.random.uniform(0.2, 0.8) * _STEPS * median(steps))
            cancelled = time.perf_counter()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.to_thread(self._wait_until_idle)
            return max(0.0, ends[-1] - cancelled)

        self.model.predict = record_step
        try:
            for _ in range(2):
                asyncio.run(self.decode(self.job(0)))
            wasted = [asyncio.run(cancel()) for _ in range(_CANCELLATIONS)]
        finally:
            self.model.predict = predict
        step = median(steps)
        share = sum(wasted) / (sum(steps[2 * _STEPS :]) + _CANCELLATIONS * (_CANCELLATIONS - 1) * _STEPS * step)
        beyond = max(0.0, max(wasted) - step)
        one_step = Baseline("one step", 1000 * step)
        return [
            Figure("cancel to idle beyond one step, slowest of ten", 1000 * beyond, "ms", one_step, at_most(1)),
            Figure("work wasted if one request in ten is cancelled", 100 * share, "%", None, at_most(1)),
        ]

    def _wait_until_idle(self) -> None:
        while not self.engine.idle:
            time.sleep(0.001)


async def _mean_latency(arrivals: Sequence[JobArrival], decode: Callable[[DecodeJob], Awaitable[None]]) -> float:
    """Return the mean seconds from the arrival of a job to its media."""
    start = time.perf_counter()

    async def latency(arrival: JobArrival) -> float:
        await asyncio.sleep(max(0.0, start + arrival.at - time.perf_counter()))
        await decode(arrival.job)
        return time.perf_counter() - start - arrival.at

    latencies = await asyncio.gather(*(latency(arrival) for arrival in arrivals))
    return sum(latencies) / len(latencies)
