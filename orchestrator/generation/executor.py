"""Carries out a plan that is still being written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from motet.core.closing import closing
from motet.core.errors import FaultError, MotetError, Reason
from motet.core.media import Media
from motet.core.plan import MediaJob, Plan


class Maker(Protocol):
    """Who makes the media of a step."""

    async def make(self, step: MediaJob, inputs: tuple[Media, ...]) -> Media:
        """The step's media, from those of the steps that it needs, in their order. Raises `MotetError`."""
        ...

    def failed(self, step: MediaJob, error: MotetError) -> None:
        """A step will have no media. What this raises stops all the others."""
        ...


async def execute(steps: AsyncIterator[MediaJob], maker: Maker) -> Plan:
    """Start each step as it arrives; each waits only for the steps it needs, and is handed their media.

    A step that fails fails those that need it, and no other. Returns once every step has ended. When reading `steps`
    raises, or `Maker.failed` does, or the caller is cancelled, all steps are stopped before that goes on.
    """
    plan = Plan()
    tasks: dict[str, asyncio.Task[Media | None]] = {}
    try:
        async with asyncio.TaskGroup() as group, closing(steps):
            async for step in steps:
                plan = plan.then(step)
                needs = [tasks[need] for need in step.needs]
                tasks[step.id] = group.create_task(_perform(step, needs, maker), name=f"step {step.id}")
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None  # callers expect our errors, not a group of them
    return plan


async def _perform(step: MediaJob, needs: list[asyncio.Task[Media | None]], maker: Maker) -> Media | None:
    try:
        if needs:
            await asyncio.wait(needs)  # awaiting the tasks themselves would cancel them along with this one
        inputs = tuple(_present(need, step) for need in needs)
        return await maker.make(step, inputs)
    except MotetError as error:
        maker.failed(step, error)
        return None


def _present(need: asyncio.Task[Media | None], step: MediaJob) -> Media:
    media = need.result()
    if media is None:
        name = need.get_name().removeprefix("step ")
        raise FaultError(
            f"{step.id} needs {name}, which failed", Reason.DEPENDENCY_FAILED, {"part_id": step.id, "needs": name}
        )
    return media
