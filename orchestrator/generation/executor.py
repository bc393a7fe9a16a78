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
        """Return the job's media. `inputs` are the media of the jobs that it needs, in order. Raises `MotetError`."""
        ...

    def job_failed(self, media_job: MediaJob, error: MotetError) -> None:
        """Handle the failure of a job. An exception raised here cancels all jobs."""
        ...


async def execute(media_jobs: AsyncIterator[MediaJob], runner: JobRunner) -> Plan:
    """Start each media job when it arrives. A job waits only for the jobs it needs, and gets their media.

    A job that fails fails the jobs that need it, and no others. Returns the plan once every job has ended. If
    `media_jobs` or `JobRunner.job_failed` raises, or the caller is cancelled, all jobs are cancelled first.
    """
    plan = Plan()
    tasks: dict[str, asyncio.Task[Media | None]] = {}
    try:
        async with asyncio.TaskGroup() as group, closing(media_jobs):
            async for media_job in media_jobs:
                plan = plan.with_job(media_job)
                needs = [tasks[need] for need in media_job.needs]
                tasks[media_job.id] = group.create_task(_run(media_job, needs, runner), name=f"job {media_job.id}")
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None  # callers expect our errors, not a group of them
    return plan


async def _run(media_job: MediaJob, needs: list[asyncio.Task[Media | None]], runner: JobRunner) -> Media | None:
    try:
        if needs:
            await asyncio.wait(needs)  # awaiting the tasks themselves would cancel them along with this one
        inputs = tuple(_result_of(need, media_job) for need in needs)
        return await runner.run_job(media_job, inputs)
    except MotetError as error:
        runner.job_failed(media_job, error)
        return None


def _result_of(need: asyncio.Task[Media | None], media_job: MediaJob) -> Media:
    media = need.result()
    if media is None:
        name = need.get_name().removeprefix("job ")
        raise FaultError(
            f"{media_job.id} needs {name}, which failed",
            Reason.DEPENDENCY_FAILED,
            {"part_id": media_job.id, "needs": name},
        )
    return media
