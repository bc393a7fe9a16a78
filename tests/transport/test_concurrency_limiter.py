"""Tests of the limiter's reports of its load."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from motet.core.clock import now
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from services.benchmarks.simulation.virtual_loop import run_virtually


def test_a_load_that_always_changes_is_reported_twenty_times_a_second() -> None:
    async def program() -> int:
        limiter, reports = ConcurrencyLimiter(4, 4), 0

        async def call_repeatedly() -> None:
            while now() < 1:
                async with limiter.admitted():
                    await asyncio.sleep(0.001)

        calls = asyncio.create_task(call_repeatedly())
        async with aclosing(limiter.watch()) as loads:
            async for _ in loads:
                reports += 1
                if now() >= 1:
                    break
        await calls
        return reports

    reports = run_virtually(program())

    assert 18 <= reports <= 22


def test_a_load_that_does_not_change_is_reported_every_five_seconds() -> None:
    async def program() -> list[float]:
        async with aclosing(ConcurrencyLimiter().watch()) as loads:
            return [(await anext(loads), now())[1] for _ in range(4)]

    assert run_virtually(program()) == pytest.approx([0, 5.05, 10.1, 15.15])


def test_the_seconds_of_a_load_are_predicted_from_the_durations_of_calls() -> None:
    async def program() -> float:
        limiter = ConcurrencyLimiter(2, 4)
        for _ in range(50):
            async with limiter.admitted():
                await asyncio.sleep(3)
        async with limiter.admitted(), limiter.admitted():
            return limiter.load.seconds

    assert run_virtually(program()) == pytest.approx(6, rel=0.01)
