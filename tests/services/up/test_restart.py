"""`motet up` restarts processes that end, and serves on with the others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from motet.client import Client
from motet.core.errors import FaultError, MotetError
from motet.core.events import State
from motet.core.request import GenerationRequest, Message
from services.ready_line import ReadyLine
from services.up.deployment import Deployment, deployment_of
from services.up.local_deployment import LocalDeployment
from services.up.restarts import RestartPolicy, Restarts
from services.up.supervised_process import SupervisedProcess
from tests.services.command import interrupt, started, table_of
from tests.services.up.processes import descendants, process_of
from tests.waiting import until

REQUEST = GenerationRequest((Message("user", ("hello",)),), seed=1)
TEXT_ONLY = replace(REQUEST, allowed_modalities=frozenset({"text"}))


@asynccontextmanager
async def deployed(policy: RestartPolicy) -> AsyncIterator[tuple[asyncio.Task[None], dict[str, ReadyLine]]]:
    """Yield the supervision of a deployment of this process, and its ready lines."""
    toys = deployment_of("", 0, 1, toy=True, toy_delay=0.0, background=False)
    deployment = LocalDeployment(replace(toys, restart_policy=policy))
    try:
        ready = await deployment.start()
        supervision = asyncio.create_task(deployment.supervise())
        yield supervision, ready
        supervision.cancel()
    finally:
        await deployment.drain(asyncio.Event())


def status_line(up: subprocess.Popen[str]) -> str:
    """Return the next line that `motet up` itself prints. The services' log lines are JSON."""
    assert up.stderr is not None
    while (line := up.stderr.readline()).startswith("{"):
        pass
    return line


async def answered(client: Client, request: GenerationRequest) -> str:
    """Return the text of the first complete answer. Requests that fail are repeated, for at most 30 s."""
    async with asyncio.timeout(30):
        while True:
            try:
                answer = await client.answer(request)
            except MotetError:
                await asyncio.sleep(0.05)
            else:
                if answer.generation.state is State.SUCCEEDED:
                    return answer.text


async def test_every_killed_process_is_restarted_and_the_deployment_serves_on() -> None:
    with started("up", "--toy", "--port", 0) as up:
        table = table_of(up)
        started_lines = [status_line(up) for _ in table]
        assert all(line.endswith(" is ready\n") for line in started_lines)
        processes = descendants(up.pid)
        async with Client(table["orchestrator"][0]) as client:
            text = await answered(client, REQUEST)
            for killed in (processes[:-1], processes[-1:]):
                for process in killed:
                    os.kill(process, signal.SIGKILL)
                lines = [await asyncio.to_thread(status_line, up) for _ in range(2 * len(killed))]
                for ending in (" was killed by signal 9; it restarts in 0.25 s\n", " is ready\n"):
                    assert sum(line.endswith(ending) for line in lines) == len(killed), lines
                assert await answered(client, REQUEST) == text
        assert len(set(descendants(up.pid)) - set(processes)) == len(table)


async def test_without_a_lost_decoder_text_is_served_and_without_the_language_model_the_deployment_ends() -> None:
    async with deployed(RestartPolicy(max_restarts=0)) as (supervision, ready):
        os.kill(process_of(os.getpid(), "--modality", "image"), signal.SIGKILL)
        os.kill(process_of(os.getpid(), "serve", "encoder"), signal.SIGKILL)
        async with Client(ready["orchestrator"].address) as client:
            assert await answered(client, TEXT_ONLY)
        assert not supervision.done()

        os.kill(process_of(os.getpid(), "serve", "llm"), signal.SIGKILL)
        with pytest.raises(FaultError, match="language model was killed by signal 9"):
            await asyncio.wait_for(supervision, 30)


async def test_a_process_that_cannot_be_started_at_first_is_restarted_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = RestartPolicy(min_delay=0.05)
    process = await SupervisedProcess.start("encoder", ["encoder", "--toy", "--listen", "127.0.0.1:0"], "error", policy)
    try:
        await process.wait_ready()
        first = process.pid
        supervision = asyncio.create_task(process.supervise())
        with monkeypatch.context() as without_python:
            without_python.setattr(sys, "executable", "/does/not/exist")
            os.kill(first, signal.SIGKILL)
            # The first attempt has failed.
            await until(lambda: "it restarts in 0.1 s" in capsys.readouterr().err)
        await until(lambda: process.runs and process.pid != first)
        supervision.cancel()
    finally:
        await process.kill()


@pytest.mark.parametrize(
    ("lost", "serves"),
    [
        ({"image decoder", "encoder", "language model 2"}, True),
        ({"language model", "language model 2"}, False),
        ({"orchestrator"}, False),
    ],
)
def test_a_deployment_serves_with_an_orchestrator_and_one_language_model(lost: set[str], serves: bool) -> None:
    deployment: Deployment = deployment_of("", 0, 1, True, 0.0, background=False, replicas={"llm": 2})

    assert deployment.can_serve(lost) is serves


def test_restarts_come_later_each_time_and_are_limited_within_a_period() -> None:
    restarts = Restarts(RestartPolicy(max_restarts=4, period=100, min_delay=1, max_delay=5))

    assert [restarts.next_delay(now) for now in (0, 10, 20, 30, 40)] == [1, 2, 4, 5, None]
    assert restarts.next_delay(100) == 5
    assert restarts.next_delay(300) == 1


async def test_a_killed_decoder_leaves_lines_that_name_the_replica_and_the_request() -> None:
    with started("up", "--toy", "--toy-delay", 0.05, "--port", 0, log_level="info") as up:
        table = table_of(up)
        async with Client(table["orchestrator"][0]) as client:
            await client.answer(REQUEST)
            answer = asyncio.create_task(client.answer(replace(REQUEST, seed=2)))
            await asyncio.sleep(0.1)
            os.kill(process_of(up.pid, "--modality", "image"), signal.SIGKILL)
            await answer
        _, errors = interrupt(up)

    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    replica = f"image at {table['image decoder'][0]}"
    assert any(line["event"] == "a replica cannot be reached" and line["replica"] == replica for line in lines)
    ended = [line for line in lines if line["event"] == "a generation ended"]
    assert len({line["request_id"] for line in ended}) == 2
    assert all(line["service"] == "orchestrator" for line in ended)
    failed = [line for line in lines if line["event"] == "a call failed at a replica"]
    assert {line["request_id"] for line in failed} <= {line["request_id"] for line in ended}
