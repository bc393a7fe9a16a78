"""The arithmetic of measuring: seconds, percentiles, and taking turns."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median
from time import perf_counter

__all__ = ["alternating", "median", "percentile", "percentiles", "seconds_of", "seconds_until"]


def seconds_of(work: Callable[[], object]) -> float:
    """How long some work takes."""
    begun = perf_counter()
    work()
    return perf_counter() - begun


async def seconds_until(done: Awaitable[object]) -> float:
    """How long it is until something has come about."""
    begun = perf_counter()
    await done
    return perf_counter() - begun


def percentile(samples: Sequence[float], q: float) -> float:
    """The smallest sample that `q` (0 to 100) percent of the samples do not exceed: one that was really measured.

    Raises `ValueError` without samples.
    """
    if not samples:
        raise ValueError("no samples: nothing was measured")
    return sorted(samples)[max(0, math.ceil(len(samples) * q / 100) - 1)]


def percentiles(samples: Sequence[float], *qs: float) -> dict[str, float]:
    """Several of them as `{"p50": ...}`; empty without samples."""
    return {f"p{q:g}": percentile(samples, q) for q in qs} if samples else {}


def alternating(rounds: int, candidates: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure candidates in turns, so that what slows the machine for a while slows them all. Gives all samples.

    Every other round goes backwards: none of them always comes first.
    """
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds):
        for name in list(candidates)[:: -1 if number % 2 else 1]:
            found[name].append(candidates[name]())
    return found
