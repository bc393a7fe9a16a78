"""Tests of the turns of new calls."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.clock import now
from motet.core.errors import OverloadedError
from motet.scheduling import call_turns
from motet.scheduling.call_turns import CallTurns
from tests.waiting import in_virtual_time


class Starts:
    """Calls that wait for their turn, and the tenants of those that started, in order."""

    def __init__(self) -> None:
        self.turns = CallTurns()
        self.started: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def call(self, tenant: str, size: int = 0) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(self._start(tenant, size)))
        return self.tasks[-1]

    async def _start(self, tenant: str, size: int) -> None:
        await self.turns.wait(tenant, size)
        self.started.append(tenant)


@in_virtual_time
async def test_a_call_that_is_alone_starts_at_once() -> None:
    starts = Starts()
    for _ in range(3):
        starts.call("a")
        await asyncio.sleep(0)
        assert len(starts.started) == len(starts.tasks)
        await asyncio.sleep(0.002)


@in_virtual_time
async def test_a_call_starts_before_the_calls_that_another_tenant_made_earlier() -> None:
    starts = Starts()
    for _ in range(50):
        starts.call("greedy")
    await asyncio.sleep(0)
    starts.call("modest")
    starts.call("modest")
    await asyncio.gather(*starts.tasks)

    assert starts.started.index("modest") <= 2
    assert starts.started[:6].count("modest") == 2
    assert len(starts.started) == 52


@in_virtual_time
async def test_other_work_runs_between_two_starts() -> None:
    starts = Starts()
    for _ in range(10):
        starts.call("a")
    began = now()
    await asyncio.gather(*starts.tasks)

    assert now() - began == pytest.approx(9 * 0.001)


@in_virtual_time
async def test_calls_beyond_the_limit_of_a_tenant_are_refused_with_a_time_for_the_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_turns, "MAX_WAITING", 5)
    starts = Starts()
    calls = [starts.call("greedy") for _ in range(8)]
    other = starts.call("modest")
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await other

    refused = [outcome for outcome in outcomes if isinstance(outcome, OverloadedError)]
    assert len(refused) == 8 - 1 - 5, "one starts at once, and five wait"
    assert all(error.retry_after > 0 for error in refused)


@in_virtual_time
async def test_a_large_request_counts_as_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_turns, "MAX_WAITING", 5)
    starts = Starts()
    calls = [starts.call("greedy", size) for size in (0, 4 * 64 * 1024, 2 * 64 * 1024, 1000)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert [isinstance(outcome, OverloadedError) for outcome in outcomes] == [False, False, True, False]


@in_virtual_time
async def test_a_waiting_call_that_is_cancelled_takes_no_turn() -> None:
    starts = Starts()
    calls = [starts.call("a") for _ in range(4)]
    await asyncio.sleep(0)
    for call in calls[1:3]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await starts.call("b")

    assert starts.started == ["a", "a", "b"]
