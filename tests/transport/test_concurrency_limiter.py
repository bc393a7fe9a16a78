"""How a limiter tells its load."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from motet.core.clock import now
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from services.benchmarks.simulation.virtual_loop import run_virtually


def test_a_load_that_changes_all_the_time_is_told_twenty_times_a_second() -> None:
    async def program() -> int:
        limiter, told = ConcurrencyLimiter(4, 4), 0

        async def busy() -> None:
            while now() < 1:
                async with limiter.admitted():
                    await asyncio.sleep(0.001)

        working = asyncio.create_task(busy())
        async with aclosing(limiter.watch()) as loads:
            async for _ in loads:
                told += 1
                if now() >= 1:
                    break
        await working
        return told

    told = run_virtually(program())

    assert 18 <= told <= 22


def test_a_load_that_does_not_change_is_told_now_and_then() -> None:
    async def program() -> list[float]:
        async with aclosing(ConcurrencyLimiter().watch()) as loads:
            return [(await anext(loads), now())[1] for _ in range(4)]

    assert run_virtually(program()) == pytest.approx([0, 5.05, 10.1, 15.15])


def test_work_is_predicted_from_how_long_calls_took() -> None:
    async def program() -> float:
        limiter = ConcurrencyLimiter(2, 4)
        for _ in range(50):
            async with limiter.admitted():
                await asyncio.sleep(3)
        async with limiter.admitted(), limiter.admitted():
            return limiter.load.seconds

    assert run_virtually(program()) == pytest.approx(6, rel=0.01)
