"""Tests of the shares of the child processes: small media, large media and tenants."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import AbstractAsyncContextManager

from motet.core.media import Media
from motet.media import decode
from motet.media.child_command import child_command
from motet.media.child_slots import ChildSlots
from tests.media.children import children_started
from tests.media.clips import clip_with
from tests.media.samples import jpeg_with_scans, picture_file
from tests.waiting import run_ready_tasks, until


class Children:
    """Named tasks that each hold a slot until they are cancelled, in the order in which they got their slots."""

    def __init__(self) -> None:
        self.running: list[str] = []

    async def start(self, name: str, slot: AbstractAsyncContextManager[None]) -> asyncio.Task[None]:
        async def hold() -> None:
            async with slot:
                self.running.append(name)
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await run_ready_tasks()
        return task


async def test_small_media_do_not_wait_for_large_media() -> None:
    slots, children = ChildSlots(2), Children()
    tasks = [await children.start(f"large {index}", slots.large(f"tenant {index}")) for index in range(8)]
    tasks.append(await children.start("small", slots.small("")))

    assert children.running == ["large 0", "small"]
    tasks[0].cancel()
    await run_ready_tasks()
    assert children.running == ["large 0", "small", "large 1"]
    await end(tasks)


async def test_small_media_get_a_slot_before_large_media_that_waited_longer() -> None:
    slots, children = ChildSlots(2), Children()
    tasks = [await children.start(f"small {index}", slots.small("")) for index in range(2)]
    tasks.append(await children.start("large", slots.large("")))
    tasks.append(await children.start("small 2", slots.small("")))

    tasks[0].cancel()
    await run_ready_tasks()

    assert children.running == ["small 0", "small 1", "small 2"]
    await end(tasks)


async def test_tenants_get_slots_in_turn() -> None:
    for kind in (ChildSlots.small, ChildSlots.large):
        slots, children = ChildSlots(2), Children()
        tasks = [await children.start(f"many {index}", kind(slots, "many")) for index in range(5)]
        tasks.append(await children.start("other", kind(slots, "other")))
        started = len(children.running)
        assert started == (2 if kind is ChildSlots.small else 1)

        tasks[0].cancel()
        await run_ready_tasks()

        assert children.running[started:] == ["other"]
        await end(tasks)


async def test_only_media_with_much_work_take_a_second_child() -> None:
    large = jpeg_with_scans(150, 2000)  # 0.2 s, of which 1.8 s are predicted
    with children_started() as children:
        await decode.probe(Media("", picture_file("PNG")))
        await decode.probe(Media("", clip_with()))
    assert len(children) == 2

    with children_started() as children:
        assert (await decode.probe(Media("", large))).width == 2000
    assert len(children) == 2


async def test_a_small_picture_is_decoded_while_large_ones_wait() -> None:
    large = [Media("", jpeg_with_scans(150 + index, 2000)) for index in range(6)]
    tasks = [asyncio.create_task(decode.probe(media)) for media in large]
    await asyncio.sleep(0)

    await decode.probe(Media("", picture_file("PNG")), tenant="other")

    assert sum(task.done() for task in tasks) < len(tasks)
    await end(tasks)


async def test_a_child_gives_way_to_its_service() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    child = await asyncio.create_subprocess_exec(
        *child_command("main", "image/png", "{}", "{}", "facts"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )

    await until(lambda: os.getpriority(os.PRIO_PROCESS, child.pid) == min(19, own + 5))

    child.kill()
    await child.wait()


async def end(tasks: list[asyncio.Task[object]] | list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
