"""The benchmark `activation`: from a request to KEDA's message that a pool without replicas is active."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc.aio

from motet.core.clock import now
from motet.core.errors import FaultError
from motet.core.telemetry.service_kind import ServiceKind
from motet.internal.externalscaler import externalscaler_pb2 as scaler_pb
from motet.internal.externalscaler import externalscaler_pb2_grpc as scaler_grpc
from motet.transport import convert
from motet.transport.channel import open_channel
from motet.transport.server import freeze_garbage_collector
from motet.v1 import generation_service_pb2_grpc as pb_grpc
from services.benchmarks.load.client_trace import text_request
from services.benchmarks.load.scripted_toys import scripted_prompt
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import alternating, percentile
from services.benchmarks.tracing.bare_activation import BareActivationConfig
from services.benchmarks.tracing.deployment import RecordedDeploymentConfig
from services.benchmarks.tracing.spans import LANGUAGE_MODEL
from services.child_process import ChildProcess

MOTET, BARE = "motet", "bare"

MAX_SECONDS = 0.1
"""Bar of the 99th percentile, in seconds."""

MAX_RATIO = 2.5
"""Bar of the medians, as a multiple of bare gRPC."""

_LOG_LEVEL = "error"
_TIMEOUT = 30.0
"""Maximum time until a pool becomes active or inactive, in seconds."""


class WatchedPool:
    """A pool that KEDA's stream watches, and a caller of the same service."""

    def __init__(self, service: grpc.aio.Channel, scaler: grpc.aio.Channel, pool: str, text: str) -> None:
        self._generate = pb_grpc.GenerationServiceStub(service).Generate
        self._scaler: Any = scaler_grpc.ExternalScalerStub(scaler)
        self._reference = scaler_pb.ScaledObjectRef(name="motet", namespace="motet", scalerMetadata={"pool": pool})
        self._text = text
        self._seeds = count()
        self._states: list[tuple[float, bool]] = []
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Read the stream until the context ends."""
        task = asyncio.create_task(self._read())
        try:
            await self._wait_for(False, 0)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def activate(self, requests: int) -> tuple[float, int]:
        """Send a number of requests at once, and cancel them after the server accepted each.

        Return the seconds until the message that the pool is active, and the number of such messages. The pool is
        inactive before and after. Raises `FaultError` if a state does not arrive within 30 seconds.
        """
        before = len(self._states)
        messages = [convert.request_to_proto(text_request(self._text, next(self._seeds))) for _ in range(requests)]
        start = now()
        calls = [self._generate(message) for message in messages]
        arrived = await self._wait_for(True, before)
        await asyncio.gather(*(call.read() for call in calls))
        for call in calls:
            call.cancel()
        await self._wait_for(False, before)
        return arrived - start, sum(active for _, active in self._states[before:])

    async def _read(self) -> None:
        async for response in self._scaler.StreamIsActive(self._reference):
            self._states.append((now(), response.result))
            self._changed.set()

    async def _wait_for(self, active: bool, begin: int) -> float:
        """Wait for a state that arrived after the first `begin` states, and is the latest. Return its time."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                while len(self._states) <= begin or self._states[-1][1] is not active:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            state = "active" if active else "inactive"
            raise FaultError(f"the pool did not become {state} within {_TIMEOUT:g} s") from None
        return self._states[-1][0]


@dataclass(frozen=True, slots=True)
class Samples:
    """The seconds of single requests and of bursts, by candidate, and the messages of each of Motet's bursts."""

    single: Mapping[str, Sequence[float]]
    burst: Mapping[str, Sequence[float]]
    messages: Sequence[int]


def measure(rounds: int, burst: int) -> Report:
    """Measure `rounds` requests, and as many bursts of `burst` requests, for each of two pools without replicas."""
    return asyncio.run(_measure(rounds, burst))


async def _measure(rounds: int, burst: int) -> Report:
    freeze_garbage_collector()
    modality = RecordedDeploymentConfig().manifest.independent[0]
    figures: list[Figure] = []
    details: dict[str, object] = {}
    for pool in (LANGUAGE_MODEL, modality):
        async with candidates(pool, modality) as pools:
            single = await alternating(rounds, {name: partial(each.activate, 1) for name, each in pools.items()}, 1)
            bursts = await alternating(rounds, {name: partial(each.activate, burst) for name, each in pools.items()}, 1)
        samples = Samples(
            {name: [seconds for seconds, _ in each] for name, each in single.items()},
            {name: [seconds for seconds, _ in each] for name, each in bursts.items()},
            [number for _, number in bursts[MOTET]],
        )
        figures += figures_of(pool, burst, samples)
        details[pool] = {"single": samples.single, "burst": samples.burst, "messages": samples.messages}
    notes = [
        "The time starts before the first request is sent, and ends when a client made from KEDA's proto has the "
        "message of StreamIsActive. The orchestrator, the client and the language model are processes of their own. "
        f"The {modality} pool becomes active by the first signal of the language model. Bare gRPC is a server with the "
        "same two methods and messages, which makes the same call of the language model.",
        "A scaler that is polled instead gets the state at the next poll: KEDA's default interval is 30 s.",
    ]
    return Report("activation", {"rounds": rounds, "burst": burst}, figures, notes, details)


def figures_of(pool: str, burst: int, samples: Samples) -> list[Figure]:
    """Return the figures of one pool."""
    motet, bare = (percentile(samples.single[name], 50) * 1e3 for name in (MOTET, BARE))
    many, many_bare = (percentile(samples.burst[name], 50) * 1e3 for name in (MOTET, BARE))
    slow, slow_bare = (percentile(samples.single[name], 99) * 1e3 for name in (MOTET, BARE))
    requests = f"{pool}, burst of {burst}"
    return [
        Figure(f"request to active, {pool}, p50", motet, "ms", Baseline("bare gRPC", bare), at_most(MAX_RATIO)),
        Figure(f"request to active, {pool}, p99", slow, "ms", bar=at_most(MAX_SECONDS * 1e3)),
        Figure(f"bare gRPC to active, {pool}, p99", slow_bare, "ms"),
        Figure(f"request to active, {requests}, p50", many, "ms", Baseline("bare gRPC", many_bare), at_most(MAX_RATIO)),
        Figure(f"messages that the pool is active, {requests}", max(samples.messages), "", bar=at_most(1)),
    ]


@asynccontextmanager
async def candidates(pool: str, modality: str) -> AsyncIterator[dict[str, WatchedPool]]:
    """Yield a pool of an orchestrator and one of bare gRPC, each in a process of its own.

    No worker runs, except the language model if the pool is another one.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="motet-bench-")))
        config = RecordedDeploymentConfig()
        workers = config.workers(folder)
        addresses = {name: f"unix:{folder}/absent-{number}" for number, name in enumerate(workers)}
        bare = BareActivationConfig(f"unix:{folder}/{BARE}")
        if pool != LANGUAGE_MODEL:
            program = ("services.benchmarks.tracing.recorded_worker",)
            model = [workers[LANGUAGE_MODEL].as_argument()]
            addresses[LANGUAGE_MODEL] = await _started(stack, LANGUAGE_MODEL, model, program)
            tokens = config.manifest.language_model.max_tokens
            bare = BareActivationConfig(bare.scaler, addresses[LANGUAGE_MODEL], modality, tokens)
        listeners = ["--scaler-listen", f"unix:{folder}/{MOTET}", "--wait-for-replicas"]
        arguments = [*config.orchestrator_arguments(addresses), *listeners]
        program = ("services.benchmarks.tracing.bare_activation",)
        started = await asyncio.gather(
            _started(stack, "orchestrator", arguments), _started(stack, "bare gRPC", [bare.as_argument()], program)
        )
        services = dict(zip((MOTET, BARE), started, strict=True))
        text = scripted_prompt([modality], before=1, between=0, after=0)
        pools = {}
        for name, address in services.items():
            service = await stack.enter_async_context(open_channel(address, retries=False))
            scaler = await stack.enter_async_context(open_channel(f"unix:{folder}/{name}", retries=False))
            label = ServiceKind.LANGUAGE_MODEL if pool == LANGUAGE_MODEL else pool
            pools[name] = WatchedPool(service, scaler, label, text)
            await stack.enter_async_context(pools[name].watched())
        yield pools


async def _started(
    stack: AsyncExitStack, name: str, arguments: Sequence[str], program: Sequence[str] = ("services", "serve")
) -> str:
    """Start a process that the stack kills. Return its address."""
    child = await ChildProcess.start(name, arguments, _LOG_LEVEL, program)
    stack.push_async_callback(child.kill)
    return (await child.wait_ready()).address
