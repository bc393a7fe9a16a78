"""Tests of pools over real servers of toys, whose addresses are in a double of the API server of Kubernetes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import RetryableError
from motet.core.media import Media
from motet.core.workers import DecodeJob, Workers
from motet.toys.workers import ToyDecoder, tensor_of
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.tls.certificates import TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.pools import pooled_workers
from services.up.certificate_authority import CertificateAuthority
from tests.orchestrator.pipeline_harness import MANIFEST
from tests.services.orchestrator.discovery.kubernetes_double import KubernetesDouble, endpoint, slice_of
from tests.services.orchestrator.test_pools import HoldingDecoder
from tests.transport.serving import served
from tests.waiting import until


class Pods:
    """Servers of decoders, each in a slice of its own, and pools that find them."""

    def __init__(self, cluster: KubernetesDouble, stack: AsyncExitStack) -> None:
        self.cluster = cluster
        self.stack = stack
        self.decoders: list[HoldingDecoder] = []
        self.ports: list[int] = []

    async def start(self, slots: int = 4, **options: Any) -> int:
        """Start a pod that is not in a slice yet, and return its number."""
        decoder = HoldingDecoder(**options)
        server, _ = await self.stack.enter_async_context(served(decoder, limiter=ConcurrencyLimiter(slots, 64)))
        self.decoders.append(decoder)
        self.ports.append(int(server.address.rpartition(":")[2]))
        return len(self.decoders) - 1

    def put(self, number: int, **conditions: bool) -> None:
        """Add the slice of a pod, or change the conditions in it."""
        self.cluster.put(slice_of(f"pod-{number}", endpoint("127.0.0.1", **conditions), port=self.ports[number]))

    async def add(self, **options: Any) -> HoldingDecoder:
        """Start a pod and add its slice."""
        number = await self.start(**options)
        self.put(number)
        return self.decoders[number]

    async def pools(self, **settings: Any) -> Workers:
        """Return pools whose decoder is the Service decoder of the cluster."""
        address = "kubernetes:///decoder:grpc"
        options = OrchestratorSettings(
            encoder="127.0.0.1:1", language_model="127.0.0.1:1", decoders={"a": address}, **settings
        )
        return await pooled_workers(options, MANIFEST, self.stack, account=self.cluster.account)

    @property
    def counts(self) -> list[int]:
        """Number of jobs that each pod has received."""
        return [len(decoder.seen) for decoder in self.decoders]


@pytest.fixture
async def pods(cluster: KubernetesDouble) -> Any:
    async with AsyncExitStack() as stack:
        yield Pods(cluster, stack)


async def decode(workers: Workers, seed: int = 7, timeout: float = 60) -> Media:
    job = DecodeJob("a", tensor_of(b"job", (4,)), seed, steps=4)
    async with aclosing(workers.decoders["a"].decode(job, Deadline.after(timeout))) as events:
        async for event in events:
            if isinstance(event, Media):
                return event
    raise AssertionError("no media")


def pool_of(workers: Workers) -> Any:
    decoder: Any = workers.decoders["a"]
    return decoder._pool


async def test_pods_that_are_added_get_work_and_an_even_share(pods: Pods) -> None:
    await pods.add(slots=2, delay=0.002)
    workers = await pods.pools(queue_seconds=1000)
    jobs = [asyncio.create_task(decode(workers, seed)) for seed in range(60)]
    await until(lambda: pods.counts[0] >= 2)
    for _ in range(2):
        await pods.add(slots=2, delay=0.002)
    await until(lambda: min(pods.counts) > 0)
    await asyncio.gather(*jobs)
    before = pods.counts

    # Every pod is held until all jobs have begun, so the counts do not depend on the speed of this machine.
    for decoder in pods.decoders:
        decoder.hold_after = 1
    jobs = [asyncio.create_task(decode(workers, seed)) for seed in range(6)]
    await until(lambda: sum(pods.counts) == sum(before) + 6)
    shares = [now - then for now, then in zip(pods.counts, before, strict=True)]
    for decoder in pods.decoders:
        decoder.released.set()
    await asyncio.gather(*jobs)

    assert shares == [2, 2, 2]


async def test_a_call_survives_the_removal_of_its_endpoint(pods: Pods) -> None:
    leaving = await pods.add(hold_after=2)
    workers = await pods.pools()
    job = asyncio.create_task(decode(workers))
    await until(lambda: leaving.running == 1)
    staying = await pods.add()
    pods.cluster.delete("pod-0")
    pool = pool_of(workers)
    await until(lambda: [replica.address for replica in pool._replicas.members] == [f"127.0.0.1:{pods.ports[1]}"])
    await asyncio.gather(*(decode(workers, seed) for seed in range(4)))
    assert pods.counts == [1, 4]
    leaving.released.set()

    assert isinstance(await job, Media)
    assert pods.counts == [1, 4], "the job ran once"
    await until(lambda: len(pool._replicas) == 1)
    assert staying.running == 0


async def test_a_terminating_pod_finishes_its_call_and_gets_no_other(pods: Pods) -> None:
    leaving, _ = await pods.add(hold_after=2), await pods.add()
    workers = await pods.pools()
    pool = pool_of(workers)
    await until(lambda: all(replica.present for replica in pool._replicas.members))
    jobs = [asyncio.create_task(decode(workers, seed)) for seed in range(2)]
    await until(lambda: leaving.running == 1 and pods.counts[1] == 1)
    pods.put(0, ready=False, serving=True, terminating=True)
    await until(lambda: len(pool._replicas.members) == 1)
    await asyncio.gather(*(decode(workers, seed) for seed in range(4)))
    leaving.released.set()
    await asyncio.gather(*jobs)

    assert pods.counts == [1, 5]


async def test_calls_wait_while_the_service_has_no_pod(pods: Pods) -> None:
    await pods.add()
    workers = await pods.pools(return_timeout=60)
    await decode(workers)
    pods.cluster.delete("pod-0")
    await until(lambda: not pool_of(workers)._replicas.members)
    jobs = [asyncio.create_task(decode(workers, seed)) for seed in range(3)]
    await asyncio.sleep(0.05)
    assert not any(job.done() for job in jobs)
    await pods.add()
    await asyncio.gather(*jobs)

    assert pods.counts == [1, 3]


async def test_no_call_is_lost_while_the_api_server_is_away(pods: Pods) -> None:
    await pods.add()
    workers = await pods.pools()
    await decode(workers)
    await pods.cluster.stop()
    await asyncio.gather(*(decode(workers, seed) for seed in range(10)))
    await pods.add()
    pods.cluster.forget()
    await pods.cluster.start()
    pool = pool_of(workers)
    await until(lambda: sum(replica.present for replica in pool._replicas.members) == 2)
    await asyncio.gather(*(decode(workers, seed) for seed in range(10)))

    assert sum(pods.counts) == 21
    assert pods.counts[1] > 0


@pytest.mark.parametrize(("name", "trusted"), [("decoder.motet.svc", True), ("127.0.0.1", False)])
async def test_the_certificate_of_a_pod_has_the_name_of_the_service(
    cluster: KubernetesDouble, tmp_path: Path, name: str, trusted: bool
) -> None:
    authority = CertificateAuthority(tmp_path)
    listener = ReloadedCertificates(TlsFiles(authority.issue("decoder", hosts=[name]), None), "client_ca")
    async with AsyncExitStack() as stack:
        decoder = ToyDecoder("a")
        server, _ = await stack.enter_async_context(served(decoder, credentials=listener.server_credentials()))
        port = int(server.address.rpartition(":")[2])
        cluster.put(slice_of("pod", endpoint("127.0.0.1"), port=port))
        settings = OrchestratorSettings(
            encoder="127.0.0.1:1",
            language_model="127.0.0.1:1",
            decoders={"a": "kubernetes://motet/decoder:grpc"},
            return_timeout=0.1,
        )
        certificates = ReloadedCertificates(TlsFiles(None, authority.certificate), "ca")
        workers = await pooled_workers(settings, MANIFEST, stack, certificates, cluster.account)
        if trusted:
            await decode(workers)
        else:
            with pytest.raises(RetryableError, match="check the name in its certificate"):
                await decode(workers)
