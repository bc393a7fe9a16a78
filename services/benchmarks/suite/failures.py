"""The benchmark `failures`: requests while each process of `motet up` is killed and frozen in turn."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.client import Client
from motet.core.clock import now
from motet.core.errors import SettingsError
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet
from motet.transport.channel import open_channel
from services.benchmarks.load.client_trace import ClientTrace, trace_request
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import percentile
from services.up.deployment import LANGUAGE_MODEL, ORCHESTRATOR, deployment_of
from services.up.local_deployment import LocalDeployment

MODALITY = "image"
"""The modality of the requests. Its decoder has two replicas, like the language model."""

KILLED, FROZEN = "killed", "frozen"

_MAX_RATIO = 3.0
"""Bar of the 99th percentile of the latency, as a multiple of the undisturbed median."""

_MAX_RETURN = 10.0
"""Bar of the time from a kill until the service serves again, in seconds."""

_SETTLE = 3.0
"""Seconds of load after each disturbance."""

_POLL_INTERVAL = 0.05
"""Seconds between two checks whether a service serves again."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The requests that ran while a process was disturbed.

    `returned` is the seconds from the kill until the service served again, 0 for a frozen process.
    """

    process: str
    kind: str
    returned: float
    traces: Sequence[ClientTrace]

    @property
    def failures(self) -> int:
        """Number of requests without a complete answer."""
        return sum(not trace.succeeded for trace in self.traces)


class ClosedLoop:
    """Callers with one request at a time each, for text and one image."""

    def __init__(self, motet: Motet, callers: int) -> None:
        self._motet = motet
        self._seeds = count()
        self._traces: list[ClientTrace] = []
        self._running: dict[int, ClientTrace] = {}
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(callers)]

    def take(self) -> list[ClientTrace]:
        """Return the requests that ended since the last call."""
        traces, self._traces = self._traces, []
        return traces

    async def wait_all(self) -> None:
        """Wait until every request that runs now has ended."""
        running = set(map(id, self._running.values()))
        while running & set(map(id, self._running.values())):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_INTERVAL)

    async def close(self) -> None:
        """Cancel all callers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _call(self, caller: int) -> None:
        while True:
            request = GenerationRequest(
                (Message("user", ("hello",)),), seed=next(self._seeds), allowed_modalities=frozenset({"text", MODALITY})
            )
            self._running[caller] = trace = ClientTrace(now())
            await trace_request(self._motet, request, trace)
            self._traces.append(trace)
            if not trace.succeeded:
                await asyncio.sleep(_POLL_INTERVAL)  # A server that is away refuses calls at once.


class DisturbedDeployment:
    """A running `motet up` of toys, whose processes can be killed and frozen."""

    def __init__(self, processes: LocalDeployment, addresses: Mapping[str, str], callers: int) -> None:
        self._processes = processes
        self._addresses = addresses
        self._callers = callers

    @property
    def names(self) -> list[str]:
        """The names of all processes."""
        return list(self._addresses)

    @asynccontextmanager
    async def load(self) -> AsyncIterator[ClosedLoop]:
        """Yield the load."""
        async with Client(self._addresses[ORCHESTRATOR]) as client:
            loop = ClosedLoop(client, self._callers)
            try:
                yield loop
            finally:
                await loop.close()

    async def kill(self, name: str, loop: ClosedLoop) -> Disturbance:
        """Kill a process, and wait until it serves again."""
        loop.take()
        began, pid = now(), self._processes.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        while self._processes.pid_of(name) == pid or not await self._serves(name):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_INTERVAL)
        returned = now() - began
        return await _end(name, KILLED, returned, loop)

    async def freeze(self, name: str, loop: ClosedLoop, seconds: float) -> Disturbance:
        """Freeze a process for some seconds."""
        loop.take()
        pid = self._processes.pid_of(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
        return await _end(name, FROZEN, 0.0, loop)

    async def _serves(self, name: str) -> bool:
        async with open_channel(self._addresses[name], retries=False) as channel:
            with suppress(grpc.aio.AioRpcError):
                check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
                return bool((await check).status == health_pb2.HealthCheckResponse.SERVING)
        return False


@asynccontextmanager
async def disturbed_deployment(callers: int, delay: float) -> AsyncIterator[DisturbedDeployment]:
    """Start `motet up --toy` with two decoders of `MODALITY` and two language models."""
    replicas = {MODALITY: 2, LANGUAGE_MODEL: 2}
    deployment = deployment_of("", 0, 1, toy=True, toy_delay=delay, background=False, replicas=replicas)
    processes = LocalDeployment(deployment)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(processes.drain, asyncio.Event())
        ready = await processes.start()
        supervising = asyncio.create_task(processes.supervise())
        stack.callback(supervising.cancel)
        yield DisturbedDeployment(processes, {name: line.address for name, line in ready.items()}, callers)


async def _end(name: str, kind: str, returned: float, loop: ClosedLoop) -> Disturbance:
    """Return a disturbance with its requests, once all of them have ended."""
    await asyncio.sleep(_SETTLE)
    await loop.wait_all()
    return Disturbance(name, kind, returned, loop.take())


def measure(callers: int, delay: float, undisturbed: float, freeze: float, only: Sequence[str]) -> Report:
    """Measure a load without failures, and then while each process is killed and frozen in turn."""
    return asyncio.run(_measure(callers, delay, undisturbed, freeze, only))


async def _measure(callers: int, delay: float, undisturbed: float, freeze: float, only: Sequence[str]) -> Report:
    async with disturbed_deployment(callers, delay) as deployment, deployment.load() as loop:
        if unknown := set(only) - set(deployment.names):
            raise SettingsError(f"no process is called {', '.join(unknown)}, only {', '.join(deployment.names)}")
        await asyncio.sleep(_SETTLE)
        loop.take()
        await asyncio.sleep(undisturbed)
        baseline = loop.take()
        disturbances = []
        for name in only or deployment.names:
            disturbances.append(await deployment.kill(name, loop))
            disturbances.append(await deployment.freeze(name, loop, freeze))
    settings = {"callers": callers, "delay": delay, "undisturbed": undisturbed, "freeze": freeze}
    return report(baseline, disturbances, settings)


def report(
    undisturbed: Sequence[ClientTrace], disturbances: Sequence[Disturbance], settings: Mapping[str, float]
) -> Report:
    """Return the report. The requests without a live orchestrator count only in the details."""
    usual = _totals(undisturbed)
    baseline = Baseline("undisturbed median", percentile(usual, 50))
    figures = [Figure("undisturbed 99th percentile", percentile(usual, 99), "s", baseline)]
    for kind in (KILLED, FROZEN):
        chosen = [one for one in disturbances if one.kind == kind and one.process != ORCHESTRATOR]
        if not chosen:
            continue
        worst = max(chosen, key=lambda one: percentile(_totals(one.traces), 99))
        requests = sum(len(one.traces) for one in chosen)
        name = f"99th percentile while one process is {kind}, worst of {len(chosen)}"
        figures += [
            Figure(f"failures of {requests} requests, {kind}", sum(one.failures for one in chosen), "", bar=at_most(0)),
            Figure(name, percentile(_totals(worst.traces), 99), "s", baseline, at_most(_MAX_RATIO)),
        ]
    returned = max(one.returned for one in disturbances)
    figures.append(Figure("time until a killed process serves again", returned, "s", bar=at_most(_MAX_RETURN)))
    details = {
        f"{one.process} {one.kind}": {
            "requests": len(one.traces),
            "failures": one.failures,
            "reasons": sorted({trace.error_reason for trace in one.traces if not trace.succeeded}),
            "p50": percentile(_totals(one.traces), 50),
            "p99": percentile(_totals(one.traces), 99),
            "max": max(_totals(one.traces)),
            "returned": one.returned,
        }
        for one in disturbances
        if _totals(one.traces)
    }
    return Report("failures", settings, figures, details=details)


def _totals(traces: Sequence[ClientTrace]) -> list[float]:
    return [trace.total for trace in traces if trace.total is not None]
