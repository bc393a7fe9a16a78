"""Rolling restarts and scaling of worker processes under load, as Kubernetes does them. The API server is a double."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from motet.answers.answer import MediaPart
from motet.client import Client
from motet.core.events import State
from motet.core.request import GenerationRequest, Message
from motet.transport.server import Server
from services.child_process import ChildProcess
from services.orchestrator import service as orchestrator_module
from services.orchestrator.pools import pooled_workers
from services.orchestrator.service import orchestrator_service
from tests.services.orchestrator.discovery.kubernetes_double import KubernetesDouble, endpoint, slice_of
from tests.services.orchestrator.test_wait_for_replicas import waiting
from tests.waiting import until

WORKERS = {"encoder": ["encoder"], "llm": ["llm"], "image": ["decoder", "--modality", "image"]}
IMAGE = frozenset({"text", "image"})


@dataclass
class Pod:
    """A process of a worker, and its slice."""

    name: str
    service: str
    process: ChildProcess
    port: int = 0


class Cluster:
    """Processes of workers, whose endpoints change as those of pods do."""

    def __init__(self, api: KubernetesDouble) -> None:
        self._api = api
        self.pods: list[Pod] = []

    async def start(self, service: str) -> Pod:
        """Start a pod of a worker, and announce it once it is ready."""
        arguments = [*WORKERS[service], "--toy", "--toy-delay", "0.005", "--listen", "127.0.0.1:0", "--grace", "30"]
        process = await ChildProcess.start(service, [*arguments, "--metrics", "127.0.0.1:0"], "error")
        pod = Pod(f"{service}-{len(self.pods)}", service, process)
        self.pods.append(pod)
        pod.port = int((await process.wait_ready()).address.rpartition(":")[2])
        self._announce(pod, ready=True)
        return pod

    async def stop(self, service: str) -> None:
        """End the pods of a worker."""
        await asyncio.gather(*(self._end(pod) for pod in self.pods if pod.service == service and pod.process.runs))

    async def _end(self, pod: Pod) -> None:
        """End a pod without a pause before SIGTERM: the process may end before the orchestrator knows of it."""
        self._announce(pod, ready=False, serving=True, terminating=True)
        assert await pod.process.drain(30), "a pod ends with exit code 0 after its running calls"
        self._api.delete(pod.name)

    def _announce(self, pod: Pod, **conditions: bool) -> None:
        found = endpoint("127.0.0.1", **conditions)
        self._api.put(slice_of(pod.name, found, service=pod.service, port=pod.port))


class Load:
    """Callers that send one request after another, without a pause."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stopped = False
        self.answers = 0

    async def run(self, first_seed: int) -> None:
        """Send requests until the end of the load. Each answer must be complete."""
        for seed in itertools.count(first_seed, 1000):
            if self._stopped:
                return
            request = GenerationRequest((Message("user", ("image",)),), seed=seed, allowed_modalities=IMAGE)
            answer = await self._client.answer(request)
            assert answer.generation.state is State.SUCCEEDED
            assert [part.modality for part in answer.parts if isinstance(part, MediaPart)] == ["image"], answer
            self.answers += 1

    async def more(self, count: int = 4) -> None:
        """Wait for more answers."""
        goal = self.answers + count
        await until(lambda: self.answers >= goal)

    def stop(self) -> None:
        """Let each caller end after its running request."""
        self._stopped = True


@pytest.fixture
async def pods(cluster: KubernetesDouble) -> AsyncIterator[Cluster]:
    """A cluster with one pod of each worker. All processes are killed at the end."""
    pods = Cluster(cluster)
    try:
        await asyncio.gather(*map(pods.start, WORKERS))
        yield pods
    finally:
        await asyncio.gather(*(pod.process.kill() for pod in pods.pods))


@pytest.fixture
async def load(cluster: KubernetesDouble, pods: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Load]:
    """Callers of an orchestrator that finds its workers in the cluster. All of their requests must succeed."""
    monkeypatch.setattr(orchestrator_module, "pooled_workers", partial(pooled_workers, account=cluster.account))
    options = {
        "toy": True,
        "encoder": "kubernetes:///encoder:grpc",
        "language_model": "kubernetes:///llm:grpc",
        "decoders": ["image=kubernetes:///image:grpc"],
        "wait_for_replicas": True,
        "return_timeout": 0.1,
    }
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(orchestrator_service(options).open())
        server = await stack.enter_async_context(Server(opened.servicers, readiness=opened.readiness))
        load = Load(await stack.enter_async_context(Client(server.address)))
        async with asyncio.TaskGroup() as callers:
            for number in range(3):
                callers.create_task(load.run(number))
            yield load
            load.stop()
            # The requests that are running must succeed, too.


async def test_a_rolling_restart_of_every_worker_loses_no_request(pods: Cluster, load: Load) -> None:
    for worker in WORKERS:
        await load.more()
        await pods.stop(worker)
        await pods.start(worker)

    await load.more()


async def test_a_decoder_is_scaled_to_three_to_none_and_to_one_and_no_request_is_lost(
    pods: Cluster, load: Load
) -> None:
    await load.more()
    await asyncio.gather(pods.start("image"), pods.start("image"))
    await load.more()
    await pods.stop("image")
    await until(lambda: waiting("image") > 0)
    await pods.start("image")
    await load.more()
