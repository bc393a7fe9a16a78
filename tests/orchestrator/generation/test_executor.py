"""Steps start as they arrive, wait for what they need, and hand their media on."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.errors import FaultError, Reason
from motet.core.media import Media
from motet.core.plan import MediaJob
from motet.core.tensors import Tensor
from orchestrator.generation.executor import execute

NOTHING = Tensor("float32", (0,), b"")


def step(name, *needs):
    return MediaJob(name, "a", NOTHING, needs=needs)


class Workshop:
    """Makes each step's media of its name and its inputs; some take long, some fail, some wait to be let go."""

    def __init__(self, fails=(), waits=()):
        self.log = []
        self.errors = {}
        self.made = {}
        self.fails = fails
        self.gates = {name: asyncio.Event() for name in waits}

    async def run_job(self, step, inputs):
        self.log.append(f"begin {step.id}")
        try:
            if step.id in self.gates:
                await self.gates[step.id].wait()
            if step.id in self.fails:
                raise FaultError(f"{step.id} broke")
        except asyncio.CancelledError:
            self.log.append(f"stop {step.id}")
            raise
        self.log.append(f"end {step.id}")
        self.made[step.id] = Media("x/a", b"+".join([step.id.encode(), *(media.data for media in inputs)]))
        return self.made[step.id]

    def job_failed(self, step, error):
        self.errors[step.id] = error


async def given(*steps, then=None):
    for one in steps:
        yield one
        await asyncio.sleep(0)
    if then is not None:
        await then


async def test_a_step_starts_while_later_ones_are_not_yet_known():
    shop, known = Workshop(), asyncio.Event()

    running = asyncio.create_task(execute(given(step("one"), then=known.wait()), shop))
    async with asyncio.timeout(1):
        while "end one" not in shop.log:
            await asyncio.sleep(0)
    known.set()

    assert [done.id for done in (await running).steps] == ["one"]


async def test_a_step_waits_for_the_steps_it_needs_and_gets_their_media_in_its_order():
    shop = Workshop(waits=["one"])
    running = asyncio.create_task(
        execute(given(step("one"), step("two"), step("both", "two", "one"), step("free")), shop)
    )
    async with asyncio.timeout(1):
        while "end free" not in shop.log:
            await asyncio.sleep(0)
    assert "begin both" not in shop.log
    shop.gates["one"].set()
    await running

    assert shop.made["both"].data == b"both+two+one"


async def test_a_step_that_fails_fails_those_that_need_it_and_no_other():
    shop = Workshop(fails=["one"])

    await execute(given(step("one"), step("two", "one"), step("three", "two"), step("four")), shop)

    assert list(shop.made) == ["four"]
    assert shop.errors["one"].message == "one broke"
    for name in ("two", "three"):
        assert shop.errors[name].reason is Reason.DEPENDENCY_FAILED
    assert shop.errors["three"].metadata == {"part_id": "three", "needs": "two"}


async def test_a_step_that_needs_what_does_not_come_before_it_is_no_plan():
    with pytest.raises(FaultError, match="no earlier job makes"):
        await execute(given(step("two", "one"), step("one")), Workshop())


async def test_steps_that_wait_and_steps_that_work_are_stopped_when_the_caller_is():
    shop = Workshop(waits=["one"])
    running = asyncio.create_task(execute(given(step("one"), step("two", "one")), shop))
    async with asyncio.timeout(1):
        while "begin one" not in shop.log:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})

    assert shop.log == ["begin one", "stop one"]
    assert running.cancelled()
    assert not shop.errors


class TooBadError(Exception):
    """Not one of ours."""


async def test_what_the_reading_of_steps_raises_stops_all_and_comes_out_as_it_is():
    async def broken():
        yield step("one")
        await asyncio.sleep(0)
        raise TooBadError

    shop = Workshop(waits=["one"])
    with pytest.raises(TooBadError):
        await execute(broken(), shop)

    assert shop.log == ["begin one", "stop one"]


async def test_what_is_raised_on_a_failure_stops_all_and_the_steps_are_read_no_further():
    class Strict(Workshop):
        def job_failed(self, step, error):
            raise TooBadError

    shop, closed = Strict(fails=["two"], waits=["one"]), []

    async def endless():
        try:
            yield step("one")
            yield step("two")
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    with pytest.raises(TooBadError):
        await execute(endless(), shop)

    assert shop.log == ["begin one", "begin two", "stop one"]
    assert closed
