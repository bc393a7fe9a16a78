"""The arithmetic of measurements: seconds, percentiles, and candidates measured alternately."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from statistics import median
from time import perf_counter
from typing import TypeVar

__all__ = ["alternating", "median", "percentile", "percentiles", "seconds_of"]

Sample = TypeVar("Sample")


async def seconds_of(work: Callable[[], object]) -> float:
    """Call a function or a coroutine function. Return the seconds until it completes."""
    start = perf_counter()
    result = work()
    if isawaitable(result):
        await result
    return perf_counter() - start


def percentile(samples: Sequence[float], q: float) -> float:
    """Return the smallest sample that at least `q` (0 to 100) percent of the samples do not exceed.

    The result is always one of the samples. Raises `ValueError` without samples.
    """
    if not samples:
        raise ValueError("no samples: nothing was measured")
    return sorted(samples)[max(0, math.ceil(len(samples) * q / 100) - 1)]


def percentiles(samples: Sequence[float], *qs: float) -> dict[str, float]:
    """Return several percentiles as `{"p50": ...}`; {} without samples."""
    return {f"p{q:g}": percentile(samples, q) for q in qs} if samples else {}


async def alternating(
    rounds: int, candidates: Mapping[str, Callable[[], Awaitable[Sample]]], warmup: int = 0
) -> dict[str, list[Sample]]:
    """Call every candidate once a round. Return the samples of each, without those of the `warmup` rounds before.

    Candidates alternate, so a slow phase of the machine slows all of them. Every other round runs in reverse order, so
    no candidate is always the first. One candidate runs at a time: it may block the event loop.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in candidates}
    for number in range(warmup + rounds):
        for name in list(candidates)[:: -1 if number % 2 else 1]:
            sample = await candidates[name]()
            if number >= warmup:
                samples[name].append(sample)
    return samples
