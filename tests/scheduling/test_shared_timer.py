"""Tests of the timer that many items share."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from motet.core.clock import now
from motet.scheduling.shared_timer import SharedTimer
from tests.waiting import in_virtual_time, until


@in_virtual_time
async def test_each_item_times_out_after_its_own_seconds_unless_it_was_discarded() -> None:
    expired: list[tuple[str, float]] = []
    timer = SharedTimer[str](1.0, lambda item: expired.append((item, round(now() - start, 3))))
    start = now()
    for item in ("a", "discarded", "b"):
        timer.add(item)
        await asyncio.sleep(0.4)
    timer.discard("discarded")
    timer.discard("unknown")
    await asyncio.sleep(5)
    assert expired == [("a", 1.0), ("b", 1.8)]

    timer.add("c")
    timer.discard("c")
    timer.add("d")
    await asyncio.sleep(5)
    assert expired[2:] == [("d", 7.2)]


@in_virtual_time
async def test_many_items_need_one_timer() -> None:
    timer = SharedTimer[int](1.0, lambda item: None)
    timers: list[float] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    loop.call_at = lambda when, *arguments, **options: timers.append(when) or call_at(when, *arguments, **options)  # type: ignore[assignment]
    for item in range(100):
        timer.add(item)

    assert len(timers) == 1


async def test_the_timer_runs_outside_of_the_context_of_the_item_that_started_it() -> None:
    current: ContextVar[str] = ContextVar("current", default="nothing")
    seen: list[str] = []
    timer: SharedTimer[str] = SharedTimer(0.01, lambda item: seen.append(current.get()))
    current.set("a call")
    timer.add("item")
    await until(lambda: bool(seen))

    assert seen == ["nothing"]
