"""Killing a child process, and waiting for its end."""

import asyncio
import sys

import pytest

from motet.core.concurrent.processes import kill_process

SLEEPS = "import time; print('ready', flush=True); time.sleep(60)"
WRITES_MUCH = "import sys; print('ready', flush=True); sys.stdout.write('x' * 5_000_000)"


async def started(program: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1000
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


@pytest.mark.parametrize("program", [SLEEPS, WRITES_MUCH], ids=["silent", "with much unread output"])
async def test_a_killed_process_is_waited_for(program: str) -> None:
    process = await started(program)

    await kill_process(process)

    assert process.returncode is not None
    assert process.stdout is not None
    assert process.stdout.at_eof()


async def test_a_process_whose_output_another_task_reads_is_waited_for() -> None:
    process = await started(SLEEPS)
    assert process.stdout is not None
    reading = asyncio.create_task(process.stdout.read())
    await asyncio.sleep(0)

    await kill_process(process)

    assert process.returncode is not None
    assert await reading == b""


async def test_a_process_that_ended_already_can_be_killed() -> None:
    process = await started("print('ready')")
    await process.wait()

    await kill_process(process)

    assert process.returncode == 0


async def test_a_caller_cancelled_again_and_again_still_waits_for_the_end() -> None:
    process = await started(SLEEPS)
    task = asyncio.create_task(kill_process(process))
    while not task.done():
        await asyncio.sleep(0)
        task.cancel()

    assert task.cancelled()
    assert process.returncode is not None


def test_a_loop_that_ends_meanwhile_leaves_no_process() -> None:
    processes: list[asyncio.subprocess.Process] = []

    async def abandon() -> None:
        processes.append(await started(SLEEPS))
        task = asyncio.create_task(kill_process(processes[0]))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(abandon())

    assert processes[0].returncode is not None
