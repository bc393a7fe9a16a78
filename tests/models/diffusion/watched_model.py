"""A diffusion model whose steps a test can watch and hold, and the jobs that the tests decode with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import torch

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.decoder import DiffusionDecoder
from motet.models.diffusion.model import DenoisingState, DiffusionModel
from tests.media.samples import picture_file
from tests.models.diffusion import tiny_decoders as tiny
from tests.waiting import until


class WatchedModel:
    """A `DiffusionModel` that records the states of each step. Between `hold` and `release`, only allowed steps run."""

    def __init__(self, model: DiffusionModel) -> None:
        self.model = model
        self.steps: list[list[DenoisingState]] = []
        self._allowed: float = inf
        self._changed = threading.Condition()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def predict(self, states: Sequence[DenoisingState]) -> list[torch.Tensor]:
        with self._changed:
            self.steps.append(list(states))
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: len(self.steps) <= self._allowed, 50)
        return self.model.predict(states)

    @property
    def batch_sizes(self) -> list[int]:
        """The number of states in each step."""
        return [len(states) for states in self.steps]

    def hold(self) -> None:
        """Let each later step begin, but not end."""
        with self._changed:
            self._allowed = len(self.steps)

    def allow(self, steps: float) -> None:
        """Let more steps end: `steps` of them."""
        with self._changed:
            self._allowed += steps
            self._changed.notify_all()

    def release(self) -> None:
        """Let all steps end."""
        self.allow(inf)

    async def begun(self, steps: int) -> None:
        """Wait until `steps` steps have begun."""
        await asyncio.to_thread(self._wait, steps)

    def _wait(self, steps: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.steps) >= steps, 50)


def measured(max_batch: int) -> CostCurve:
    """Return a curve without pending trials: the larger a batch, the faster, up to `max_batch`."""
    curve = CostCurve()
    for size in range(2, max_batch + 3):
        while curve.to_try(size):
            curve.learn(size, 1.0, (1.0 + size) if size <= max_batch else 0.5, 0.0)
    return curve


def job(modality: str = "image", seed: int = 1, **changes: Any) -> DecodeJob:
    """Return a job of four steps for a tiny decoder."""
    shape = tuple(tiny.CONDITIONING.get(modality, [4, 8]))
    values = np.random.default_rng(seed).standard_normal(shape).astype("<f4")
    inputs = (Media("image/png", picture_file("PNG")),) * len(tiny.TAKES.get(modality, ()))
    return replace(
        DecodeJob(modality, Tensor("float32", shape, values.tobytes()), seed, steps=4, inputs=inputs), **changes
    )


async def events(decoder: DiffusionDecoder, job: DecodeJob, deadline: Deadline | None = None) -> list[Any]:
    """Decode a job, and return all of its events."""
    return [event async for event in decoder.decode(job, deadline or Deadline.never())]


async def media(decoder: DiffusionDecoder, job: DecodeJob) -> Media:
    """Decode a job, and return its last event."""
    result: Media = (await events(decoder, job))[-1]
    return result


async def run_together(decoder: DiffusionDecoder, model: WatchedModel, jobs: Sequence[DecodeJob]) -> list[Media]:
    """Decode jobs that all begin with the same step, and return their media. `model.steps` holds their steps alone."""
    model.hold()
    tasks = [asyncio.create_task(media(decoder, job(decoder.modality, seed=99, steps=1)))]
    await model.begun(1)
    tasks += [asyncio.create_task(media(decoder, each)) for each in jobs]
    await until(lambda: decoder._engine._thread.arrived == len(jobs))
    model.release()
    results = await asyncio.gather(*tasks)
    del model.steps[0]
    return results[1:]
