"""Outages of a double of the API server of Kubernetes, which refuses connections meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from services.orchestrator.discovery.kubernetes_service import _MAX_BACKOFF, KubernetesSource
from tests.services.orchestrator.discovery.kubernetes_double import KubernetesDouble, endpoint, slice_of
from tests.services.orchestrator.discovery.test_kubernetes_pools import Pods, pods
from tests.services.orchestrator.discovery.test_kubernetes_service import Found
from tests.services.orchestrator.discovery.test_new_replicas import steady_load
from tests.waiting import LoopSeconds, until

__all__ = ["pods"]
logger = logging.getLogger(__name__)
OUTAGE = 60.0
"""Duration of an outage whose pauses are skipped, in seconds."""
WAITED_OUTAGE = float(os.environ.get("TEST_OUTAGE", "1"))
"""Duration of an outage that the test waits for, in seconds."""
RECONNECTED = _MAX_BACKOFF + 1
"""Maximum time from the end of an outage to the first job of a pod that joined meanwhile, in seconds."""


class SkippedPauses:
    """The pauses of a source, which take no time. The API server is back when their sum is the outage."""

    def __init__(self, cluster: KubernetesDouble) -> None:
        self._cluster = cluster
        self.away = False
        self.attempts = 0
        self.seconds = 0.0

    async def pause(self, seconds: float) -> None:
        if not self.away:
            return
        self.attempts += 1
        self.seconds += seconds
        if self.seconds >= OUTAGE:
            self.away = False
            await self._cluster.start()


@pytest.mark.parametrize("expired", [False, True])
async def test_after_an_outage_of_a_minute_the_endpoints_are_current_within_five_seconds(
    cluster: KubernetesDouble, caplog: pytest.LogCaptureFixture, expired: bool
) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")), slice_of("b", endpoint("10.0.0.2")))
    pauses = SkippedPauses(cluster)
    found = Found(KubernetesSource(cluster.account, "motet", "decoder", "grpc", pauses.pause))
    task = asyncio.create_task(found.follow())
    await until(lambda: cluster.watches == 1)
    requests = len(cluster.requests)

    pauses.away = True
    await cluster.stop()
    cluster.delete("a")
    cluster.put(slice_of("c", endpoint("10.0.0.3")))
    if expired:
        cluster.forget()
    await found.until("10.0.0.2", "10.0.0.3")
    task.cancel()

    assert found.lists[0] == ["10.0.0.1", "10.0.0.2"]
    assert all("10.0.0.2" in endpoints for endpoints in found.lists), "the endpoints stayed"
    assert OUTAGE <= pauses.seconds <= OUTAGE + 5
    assert 12 <= pauses.attempts <= 35, "the API server was tried again, and rarely"
    assert caplog.text.count("cannot be watched, the last replicas stay") == 1
    assert len(cluster.requests) > requests


@pytest.mark.timeout(60 + WAITED_OUTAGE)
async def test_an_outage_loses_no_job_and_a_pod_that_joined_meanwhile_gets_work_after_it(
    pods: Pods, cluster: KubernetesDouble
) -> None:
    await pods.add(slots=2, delay=0.002)
    workers = await pods.pools(queue_seconds=1000)
    async with steady_load(workers, callers=3):
        await until(lambda: pods.counts[0] > 10)
        await cluster.stop()
        await pods.add(slots=2, delay=0.002)
        before = pods.counts[0]
        await asyncio.sleep(WAITED_OUTAGE)
        await until(lambda: pods.counts[0] > before)
        assert pods.counts[1] == 0
        async with LoopSeconds() as clock:
            await cluster.start()
            await until(lambda: pods.counts[1] > 0)

    logger.info("first job after %.2f s", clock.seconds)
    assert clock.seconds <= RECONNECTED
