"""Execution of a plan whose media jobs arrive one after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from motet.core.closing import closing
from motet.core.errors import FaultError, MotetError, Reason
from motet.core.media import Media
from motet.core.plan import MediaJob, Plan


class JobRunner(Protocol):
    """Runs the media jobs of a plan."""

    async def run_job(self, media_job: MediaJob, inputs: tuple[Media, ...]) -> Media:
        """Return the job's media. `inputs` are its inputs, in order. Raises `MotetError`."""
        ...

    def job_failed(self, media_job: MediaJob, error: MotetError) -> None:
        """Handle the failure of a job. An exception raised here cancels all jobs."""
        ...


async def execute(media_jobs: AsyncIterator[MediaJob], runner: JobRunner) -> Plan:
    """Start each media job when it arrives. A job waits only for the jobs it needs, and gets its inputs.

    A job that fails fails the jobs that need it, and no others. Returns the plan once every job has ended. If
    `media_jobs` or `JobRunner.job_failed` raises, or the caller is cancelled, all jobs are cancelled first.
    """
    plan = Plan()
    tasks: dict[str, asyncio.Task[Media | MotetError]] = {}
    try:
        async with asyncio.TaskGroup() as group, closing(media_jobs):
            async for media_job in media_jobs:
                plan = plan.with_job(media_job)
                running = _run(media_job, [tasks[need] for need in media_job.needs], runner)
                tasks[media_job.id] = group.create_task(running)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None  # callers expect our errors, not a group of them
    return plan


async def _run(
    media_job: MediaJob, needs: list[asyncio.Task[Media | MotetError]], runner: JobRunner
) -> Media | MotetError:
    """Return the media of a job, or the error with which it failed."""
    try:
        if needs:
            await asyncio.wait(needs)  # awaiting the tasks themselves would cancel them along with this one
        return await runner.run_job(media_job, _inputs_of(media_job, needs))
    except MotetError as error:
        runner.job_failed(media_job, error)
        return error


def _inputs_of(media_job: MediaJob, needs: list[asyncio.Task[Media | MotetError]]) -> tuple[Media, ...]:
    results = {name: need.result() for name, need in zip(media_job.needs, needs, strict=True)}
    for name, result in results.items():
        if isinstance(result, MotetError):
            raise FaultError(
                f"{media_job.id} needs {name}, which failed",
                Reason.DEPENDENCY_FAILED,
                {"part_id": media_job.id, "needs": name},
            ) from result
    inputs = (results[source] if isinstance(source, str) else source for source in media_job.inputs)
    return tuple(source for source in inputs if isinstance(source, Media))
