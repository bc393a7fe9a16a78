"""The gauges of a pool: a replica that gets no calls is counted by its state, and does not look idle."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from prometheus_client import REGISTRY

from motet.core.errors import RetryableError
from motet.core.telemetry.families import pool_metrics
from motet.toys.workers import InjectedFault
from orchestrator.pool.replica import ReplicaState
from tests.orchestrator.pool_harness import LOST, PoolHarness, settle
from tests.waiting import in_virtual_time


def states() -> dict[str, float]:
    """Return the number of replicas in each state that has one."""
    counts = {
        state: REGISTRY.get_sample_value("motet_pool_replicas", {"pool": "a", "state": state}) for state in ReplicaState
    }
    return {str(state): count for state, count in counts.items() if count}


def seconds(replica: int) -> float | None:
    """Return the exported seconds of a replica's work, or None without a sample."""
    return REGISTRY.get_sample_value("motet_pool_outstanding_seconds", {"pool": "a", "replica": str(replica)})


@in_virtual_time
async def test_a_dead_or_draining_replica_does_not_look_idle():
    async with PoolHarness(None, None, None) as harness:
        assert states() == {"ready": 3}
        assert [seconds(number) for number in range(3)] == [0, 0, 0]

        harness.feeds[0].disconnect()
        harness.feeds[1].send(slots=1, draining=True)
        await settle()
        assert states() == {"ready": 1, "draining": 1, "unreachable": 1}
        assert [seconds(number) for number in range(3)] == [None, None, 0]

        harness.feeds[1].send(slots=1)
        await settle()
        assert states() == {"ready": 2, "unreachable": 1}
        assert [seconds(number) for number in range(3)] == [None, 0, 0]

        harness.feeds[1].send(slots=1, bundle_digest="sha256:other")
        await settle()
        assert states() == {"ready": 1, "other_bundle": 1, "unreachable": 1}
        assert [seconds(number) for number in range(3)] == [None, None, 0]
    assert states() == {}
    assert seconds(2) is None


@in_virtual_time
async def test_ejections_and_refusals_are_exported_from_zero_so_that_prometheus_sees_the_first_increase():
    async with PoolHarness(None, None):
        for replica in ("0", "1"):
            assert REGISTRY.get_sample_value("motet_pool_ejections_total", {"pool": "a", "replica": replica}) == 0
        assert REGISTRY.get_sample_value("motet_pool_refused_total", {"pool": "a"}) is not None


@in_virtual_time
async def test_an_ejected_replica_does_not_look_idle_until_a_call_succeeds():
    async with PoolHarness(InjectedFault(LOST, times=2), eject_after=1, eject_for=1) as harness:
        with suppress(RetryableError):
            await harness.start()
        assert states() == {"ejected": 1}
        assert seconds(0) is None

        await harness.start()
        assert states() == {"ready": 1}
        assert seconds(0) == 0


@in_virtual_time
async def test_a_replica_that_left_drains_until_its_last_call_has_ended():
    async with PoolHarness(None, None) as harness:
        calls = [harness.start(seed=number) for number in range(2)]
        await settle()
        await harness.set_members(1)
        assert states() == {"ready": 1, "draining": 1}
        assert seconds(0) is None

        await asyncio.gather(*calls)
        await settle()
        assert states() == {"ready": 1}


def addresses() -> dict[str, str]:
    """Return the address of each exported replica, by its label."""
    samples = (sample for metric in pool_metrics.POOL_REPLICA_INFO.collect() for sample in metric.samples)
    return {sample.labels["replica"]: sample.labels["address"] for sample in samples}


def ready(replica: int) -> float | None:
    return REGISTRY.get_sample_value("motet_pool_replica_ready", {"pool": "a", "replica": str(replica)})


@in_virtual_time
async def test_a_replica_that_joins_takes_the_label_of_one_that_left():
    async with PoolHarness(None, None, None) as harness:
        assert addresses() == {"0": "0", "1": "1", "2": "2"}

        await harness.set_members(0, 2)
        await settle()
        assert addresses() == {"0": "0", "2": "2"}
        assert [ready(number) for number in range(3)] == [1, None, 1]

        await harness.set_members(0, 2, 5)
        await settle()
        assert addresses() == {"0": "0", "1": "5", "2": "2"}
        assert [ready(number) for number in range(3)] == [1, 1, 1]

        harness.feeds[5].disconnect()
        await settle()
        assert [ready(number) for number in range(3)] == [1, 0, 1]
    assert addresses() == {}
    assert ready(0) is None
