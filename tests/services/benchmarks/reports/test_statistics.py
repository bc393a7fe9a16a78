"""The arithmetic of measurements."""

from __future__ import annotations

import pytest

from services.benchmarks.reports.statistics import alternating, percentile, percentiles, seconds_of


def test_a_percentile_is_one_of_the_samples() -> None:
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([3, 1, 2], 99) == 3
    assert percentile(range(1, 101), 99) == 99
    assert percentile([1], 0) == 1
    assert percentiles([], 50) == {}
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 50)


async def test_candidates_alternate_and_every_other_round_is_reversed() -> None:
    calls: list[str] = []

    async def candidate(name: str, sample: float) -> float:
        calls.append(name)
        return sample

    samples = await alternating(2, {"x": lambda: candidate("x", 1.0), "y": lambda: candidate("y", 2.0)})

    assert calls == ["x", "y", "y", "x"]
    assert samples == {"x": [1.0, 1.0], "y": [2.0, 2.0]}


async def test_warm_up_rounds_run_and_give_no_samples() -> None:
    numbers = iter(range(10))

    async def candidate() -> int:
        return next(numbers)

    assert await alternating(2, {"x": candidate}, warmup=1) == {"x": [1, 2]}


async def test_functions_and_coroutine_functions_are_timed() -> None:
    calls: list[str] = []

    async def coroutine() -> None:
        calls.append("coroutine")

    assert await seconds_of(coroutine) >= 0
    assert await seconds_of(lambda: calls.append("function")) >= 0
    assert calls == ["coroutine", "function"]
