"""No call at a limit of the contract stops a service: its event loop answers health checks meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.benchmarks.load.limit_calls import LimitCall, limit_calls
from services.benchmarks.load.watched_service import Silence, SilenceFile, record_silences
from services.benchmarks.suite.silence import OF_SERVICE, TOGETHER, WatchedDeployment, report, watched_deployment

MAX_SILENCE = 1.0
"""Maximum processor seconds between two turns of an event loop. It hardly depends on the machine's load."""

VALID = {
    "256 turns of 16 parts",
    "texts of 256 KiB",
    "the largest options",
    "a page of 1000 records",
    "256 items",
    "items of 1 MiB",
    "64 embeddings",
    "three inputs of 1 MiB",
    "the largest inputs",
    "1000 steps",
}
"""The calls at a limit. All others are beyond one, or of media that cannot be read."""


def cheap_calls() -> list[LimitCall]:
    """Return the calls without those of many frames, which cost this process seconds and the services nothing."""
    return [call for call in limit_calls() if "chunk" not in call.name]


@pytest.fixture
async def deployment():
    async with watched_deployment() as deployment:
        yield deployment


async def test_every_service_answers_health_checks_while_every_limit_is_used_at_once(
    deployment: WatchedDeployment,
) -> None:
    checks = 0

    async def probe() -> None:
        nonlocal checks
        while True:
            for channel in deployment.channels.values():
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            checks += 1

    calls = cheap_calls()
    probing = asyncio.create_task(probe())
    codes = {(call.service, call.name): await call.run(deployment.channels[call.service]) for call in calls}
    alone = {kind: file.longest().processor_seconds for kind, file in deployment.files.items()}
    together = {kind: silence.processor_seconds for kind, silence in (await deployment.silences(*calls)).items()}
    probing.cancel()
    with suppress(asyncio.CancelledError):
        await probing

    assert checks > 1
    assert max(alone.values()) < MAX_SILENCE, alone
    assert max(together.values()) < MAX_SILENCE, together
    assert {name for (_, name), code in codes.items() if code is grpc.StatusCode.OK} == VALID


async def test_a_blocked_event_loop_is_a_silence(tmp_path: Path) -> None:
    file = SilenceFile(tmp_path / "silences")
    recording = asyncio.create_task(record_silences(file.path))
    await asyncio.sleep(0.01)
    sum(range(3_000_000))
    await asyncio.sleep(0.01)
    silences = [silence for silence in file.read() if silence.processor_seconds > 0.005]
    recording.cancel()
    with suppress(asyncio.CancelledError):
        await recording

    assert len(silences) >= 1
    assert silences[0].seconds >= silences[0].processor_seconds / 2
    assert not list(file.read())


def test_the_report_has_a_bar_for_each_service_alone_and_together() -> None:
    silences = {
        "a": Silence(0.003, 0.002),
        "b": Silence(0.099, 0.001),
        OF_SERVICE: Silence(0.1, 0.1),
        TOGETHER: Silence(0.101, 0.05),
    }
    result = report({"encoder": silences}, rounds=1)

    assert [(round(figure.value), figure.met) for figure in result.figures] == [
        (99, True),
        (100, True),
        (101, False),
        (50, True),
    ]
    assert result.details["encoder"]["a"] == {"seconds": 0.003, "processor_seconds": 0.002}
