"""Tests of the executor: jobs start when they arrive, wait for the jobs they need, and get their media."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.errors import FaultError, Reason
from motet.core.media import Media
from motet.core.plan import MediaJob
from motet.core.tensors import Tensor
from orchestrator.generation.executor import execute
from tests.waiting import until

NOTHING = Tensor("float32", (0,), b"")


def job(name, *needs):
    return MediaJob(name, "a", NOTHING, inputs=needs)


class RecordingRunner:
    """A runner whose media hold a job's name and its inputs.

    The jobs in `fails` fail, and the jobs in `waits` wait for their events.
    """

    def __init__(self, fails=(), waits=()):
        self.log = []
        self.errors = {}
        self.media = {}
        self.fails = fails
        self.events = {name: asyncio.Event() for name in waits}

    async def run_job(self, job, inputs):
        self.log.append(f"begin {job.id}")
        try:
            if job.id in self.events:
                await self.events[job.id].wait()
            if job.id in self.fails:
                raise FaultError(f"{job.id} broke")
        except asyncio.CancelledError:
            self.log.append(f"stop {job.id}")
            raise
        self.log.append(f"end {job.id}")
        self.media[job.id] = Media("x/a", b"+".join([job.id.encode(), *(media.data for media in inputs)]))
        return self.media[job.id]

    def job_failed(self, job, error):
        self.errors[job.id] = error


async def arriving(*jobs, then=None):
    """Yield the jobs, and then await `then`."""
    for job in jobs:
        yield job
        await asyncio.sleep(0)
    if then is not None:
        await then


async def test_a_job_starts_before_later_jobs_arrive():
    runner, known = RecordingRunner(), asyncio.Event()

    running = asyncio.create_task(execute(arriving(job("one"), then=known.wait()), runner))
    await until(lambda: "end one" in runner.log)
    known.set()

    assert [job.id for job in (await running).jobs] == ["one"]


async def test_a_job_waits_for_the_jobs_it_needs_and_gets_their_media_in_order():
    runner = RecordingRunner(waits=["one"])
    running = asyncio.create_task(
        execute(arriving(job("one"), job("two"), job("both", "two", "one"), job("free")), runner)
    )
    await until(lambda: "end free" in runner.log)
    assert "begin both" not in runner.log
    runner.events["one"].set()
    await running

    assert runner.media["both"].data == b"both+two+one"


async def test_a_failed_job_fails_only_the_jobs_that_need_it():
    runner = RecordingRunner(fails=["one"])

    await execute(arriving(job("one"), job("two", "one"), job("three", "two"), job("four")), runner)

    assert list(runner.media) == ["four"]
    assert runner.errors["one"].message == "one broke"
    for name in ("two", "three"):
        assert runner.errors[name].reason is Reason.DEPENDENCY_FAILED
    assert runner.errors["three"].metadata == {"part_id": "three", "needs": "two"}


async def test_a_job_that_needs_a_later_job_is_a_fault():
    with pytest.raises(FaultError, match="no earlier job makes"):
        await execute(arriving(job("two", "one"), job("one")), RecordingRunner())


async def test_waiting_and_running_jobs_are_cancelled_with_the_caller():
    runner = RecordingRunner(waits=["one"])
    running = asyncio.create_task(execute(arriving(job("one"), job("two", "one")), runner))
    await until(lambda: "begin one" in runner.log)
    running.cancel()
    await asyncio.wait({running})

    assert runner.log == ["begin one", "stop one"]
    assert running.cancelled()
    assert not runner.errors


class UnexpectedError(Exception):
    """An exception that is no `MotetError`."""


async def test_an_exception_of_the_job_stream_cancels_all_jobs_and_is_raised():
    async def broken():
        yield job("one")
        await asyncio.sleep(0)
        raise UnexpectedError

    runner = RecordingRunner(waits=["one"])
    with pytest.raises(UnexpectedError):
        await execute(broken(), runner)

    assert runner.log == ["begin one", "stop one"]


async def test_an_exception_of_the_failure_handler_cancels_all_jobs_and_closes_the_job_stream():
    class RaisesOnFailure(RecordingRunner):
        def job_failed(self, job, error):
            raise UnexpectedError

    runner, closed = RaisesOnFailure(fails=["two"], waits=["one"]), []

    async def endless():
        try:
            yield job("one")
            yield job("two")
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    with pytest.raises(UnexpectedError):
        await execute(endless(), runner)

    assert runner.log == ["begin one", "begin two", "stop one"]
    assert closed
