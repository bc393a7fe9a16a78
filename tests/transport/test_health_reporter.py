"""The health of a server over time: pushed within a second, without flapping, and live while it drains."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from motet.core.clock import now
from motet.transport.channel import open_channel
from motet.transport.health_reporter import LIVENESS, MIN_OUTAGE, HealthReporter, HealthServicer
from motet.transport.server import Server
from tests.waiting import in_virtual_time

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NAME = "motet.v1/image"


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value("motet_health_serving", {"service": name})


@in_virtual_time
async def test_a_flapping_worker_changes_the_health_at_most_twice_in_the_minimum_outage() -> None:
    servicer, ready = HealthServicer(), {NAME: True}
    reporter = HealthReporter(servicer, (), lambda: ready)
    changes: list[tuple[float, bool | None]] = []
    await reporter.start()
    for _ in range(600):
        ready[NAME] = not ready[NAME]
        await asyncio.sleep(0.1)
        if not changes or servicer.is_serving(NAME) is not changes[-1][1]:
            changes.append((now(), servicer.is_serving(NAME)))
    reporter.stop()

    lost = [at for at, serving in changes if serving is False]
    assert len(lost) > 5, "the health shows that the worker flaps"
    assert min(after - before for before, after in pairwise(lost)) >= MIN_OUTAGE


@in_virtual_time
async def test_a_change_after_a_quiet_time_is_reported_within_a_second() -> None:
    servicer, ready = HealthServicer(), {NAME: False}
    reporter = HealthReporter(servicer, (), lambda: ready)
    await reporter.start()
    assert servicer.is_serving(NAME) is False
    for serving in (True, False, True, False):
        ready[NAME] = serving
        await asyncio.sleep(1)
        assert servicer.is_serving(NAME) is serving
        assert gauge(NAME) == serving
        await asyncio.sleep(MIN_OUTAGE)
    reporter.stop()


@in_virtual_time
async def test_a_loss_is_reported_at_once_also_after_a_short_recovery() -> None:
    servicer, ready = HealthServicer(), {NAME: True}
    reporter = HealthReporter(servicer, (), lambda: ready)
    await reporter.start()
    ready[NAME] = False
    await asyncio.sleep(1)
    ready[NAME] = True
    await asyncio.sleep(MIN_OUTAGE - 1.1)
    assert servicer.is_serving(NAME) is False
    await asyncio.sleep(1.5)
    assert servicer.is_serving(NAME) is True
    ready[NAME] = False
    await asyncio.sleep(1)
    assert servicer.is_serving(NAME) is False
    reporter.stop()


async def test_a_watcher_gets_each_change() -> None:
    ready = {NAME: True}
    async with Server([], readiness=lambda: ready) as server, open_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=NAME))
        assert (await watch.read()).status == SERVING
        ready[NAME] = False
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()


async def test_a_server_is_live_without_readiness_and_while_it_drains() -> None:
    async with Server([], readiness=lambda: {"": False}) as server, open_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        statuses = [(await health.Check(health_pb2.HealthCheckRequest(service=LIVENESS))).status]
        await server.drain()
        statuses += [
            (await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in (LIVENESS, "")
        ]

    assert statuses == [SERVING, SERVING, NOT_SERVING]
    assert (gauge(LIVENESS), gauge("")) == (1, 0)
