"""The virtual clock: timers fire at their times, without waiting."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError
from services.benchmarks.simulation.virtual_loop import run_virtually


def test_hours_pass_at_once() -> None:
    async def program() -> float:
        await asyncio.sleep(10_000)
        return now()

    # In real time, the test would exceed its time limit.
    assert run_virtually(program()) == pytest.approx(10_000)


def test_timers_fire_in_order_and_at_their_times() -> None:
    fired: list[tuple[str, float]] = []

    async def fire(name: str, at: float) -> None:
        await asyncio.sleep(at)
        fired.append((name, round(now(), 6)))

    async def program() -> None:
        await asyncio.gather(fire("third", 3.5), fire("first", 1), fire("second", 2), fire("also second", 2))

    run_virtually(program())

    assert fired == [("first", 1), ("second", 2), ("also second", 2), ("third", 3.5)]


def test_ready_tasks_run_before_time_advances() -> None:
    async def program() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return now()

    assert run_virtually(program()) == 0


def test_a_timeout_cancels_at_its_time() -> None:
    async def program() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await asyncio.sleep(60)
        return now()

    assert run_virtually(program()) == pytest.approx(2)


def test_a_cancelled_timer_does_not_move_the_clock() -> None:
    async def program() -> float:
        task = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(1)
        return now()

    assert run_virtually(program()) == pytest.approx(2)


def test_many_short_waits_add_up_exactly() -> None:
    async def program() -> list[float]:
        async def tick() -> float:
            for _ in range(10_000):
                await asyncio.sleep(0.1)
            return now()

        return await asyncio.gather(tick(), tick())

    assert run_virtually(program()) == pytest.approx([1000, 1000], abs=1e-3)


def test_deadlines_use_the_virtual_clock() -> None:
    async def program() -> None:
        deadline = Deadline.after(5)
        await asyncio.sleep(4)
        deadline.check("waiting")
        assert deadline.remaining() == pytest.approx(1)
        await asyncio.sleep(2)
        with pytest.raises(DeadlineError):
            deadline.check("waiting")

    run_virtually(program())


def test_a_deadlock_raises_an_error() -> None:
    async def program() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="deadlock"):
        run_virtually(program())
