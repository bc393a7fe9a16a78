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
from uuid import uuid4

import pytest

from motet.client import Client
from motet.core.errors import FaultError, MotetError
from motet.core.events import Done, PartProgress, State
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
    """Return the text of the first complete answer. Requests that fail are repeated, for at most 90 s."""
    async with asyncio.timeout(90):
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
            await asyncio.wait_for(supervision, 90)


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


async def answered_after_progress(client: Client, request: GenerationRequest, running: asyncio.Semaphore) -> None:
    """Wait for a complete answer. Release the semaphore once its decoder has made a step."""
    async for event in client.generate(request):
        match event.payload:
            case PartProgress(step=1):
                running.release()
            case Done(generation):
                assert generation.state is State.SUCCEEDED


async def test_a_decoder_that_is_killed_under_load_leaves_lines_that_name_the_replica_and_each_request() -> None:
    # Steps of 0.2 s. So all calls are running when one of them begins its second step.
    with started("up", "--toy", "--toy-delay", 0.2, "--port", 0, log_level="info") as up:
        table = table_of(up)
        running = asyncio.Semaphore(0)
        requests = [replace(REQUEST, seed=seed, request_id=str(uuid4())) for seed in range(3)]
        async with Client(table["orchestrator"][0]) as client, asyncio.timeout(50), asyncio.TaskGroup() as answers:
            for request in requests:
                answers.create_task(answered_after_progress(client, request, running))
            for _ in requests:
                await running.acquire()
            os.kill(process_of(up.pid, "--modality", "image"), signal.SIGKILL)
        _, errors = interrupt(up)

    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    of = {event: [line for line in lines if line["event"] == event] for event in {line["event"] for line in lines}}
    replica = f"image at {table['image decoder'][0]}"
    lost, ended = of["a call failed at a replica"], of["a generation ended"]
    assert {line["request_id"] for line in lost} >= {line["request_id"] for line in ended}
    assert {line["request_id"] for line in ended} == {request.request_id for request in requests}
    assert {(line["replica"], line["service"]) for line in lost} == {(replica, "orchestrator")}
    assert "WORKER_LOST" in {line["reason"] for line in lost}
    assert replica in {line["replica"] for line in of["a replica was ejected after consecutive failures"]}
    assert replica in {line["replica"] for line in of["a replica cannot be reached"]}
    # The attempts after the first one are on the line of each part.
    assert {part["replica"] for line in ended for part in line["parts"] if part["modality"] == "image"} == {replica}
