"""The benchmark `silence`: the longest time in which a service answers nothing, under calls at every limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.toys.manifest import TOY
from motet.transport.channel import open_channel
from services.benchmarks.load.limit_calls import LimitCall, limit_calls
from services.benchmarks.load.watched_service import Silence, SilenceFile
from services.benchmarks.reports.report import Figure, Report, at_most
from services.child_process import ChildProcess

TOGETHER = "all together"

_MAX_SILENCE = 100.0
"""Bar of the longest silence on an idle machine, in milliseconds."""

_SETTLE = 0.1
"""Seconds after a call in which its silences are recorded."""


@dataclass(frozen=True, slots=True)
class WatchedDeployment:
    """A running deployment of toys: a channel and the silences of each service, by its kind."""

    channels: Mapping[str, grpc.aio.Channel]
    files: Mapping[str, SilenceFile]

    async def silences(self, *calls: LimitCall) -> dict[str, Silence]:
        """Run calls at the same time. Return the longest silence of each service meanwhile."""
        for file in self.files.values():
            file.longest()
        await asyncio.gather(*(call.run(self.channels[call.service]) for call in calls))
        await asyncio.sleep(_SETTLE)
        return {kind: file.longest() for kind, file in self.files.items()}

    async def check_health(self) -> None:
        """Ask each service for its health. Raises `AioRpcError` if a service does not answer."""
        for channel in self.channels.values():
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)


@asynccontextmanager
async def watched_deployment() -> AsyncIterator[WatchedDeployment]:
    """Start a process for each service, and kill the processes at the end."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="motet-bench-")))
        addresses: dict[str, str] = {}
        files: dict[str, SilenceFile] = {}

        async def start(kind: str, options: Mapping[str, object]) -> None:
            files[kind] = SilenceFile(folder / kind)
            arguments = [kind, str(files[kind].path), json.dumps(options)]
            program = ("services.benchmarks.load.watched_service",)
            child = await ChildProcess.start(kind, arguments, "error", program)
            stack.push_async_callback(child.kill)
            addresses[kind] = (await child.wait_ready()).address

        first = next(iter(TOY.signals))
        await asyncio.gather(start("encoder", {}), start("language model", {}), start("decoder", {"modality": first}))
        workers = {"encoder": addresses["encoder"], "language_model": addresses["language model"]}
        await start("orchestrator", {**workers, "decoders": [f"{first}={addresses['decoder']}"]})
        channels = {
            kind: await stack.enter_async_context(open_channel(address, retries=False))
            for kind, address in addresses.items()
        }
        yield WatchedDeployment(channels, files)


def measure(rounds: int) -> Report:
    """Measure every call alone, and all calls at the same time, in rounds."""
    return asyncio.run(_measure(rounds))


async def _measure(rounds: int) -> Report:
    calls = limit_calls()
    longest: dict[tuple[str, str], float] = {}
    async with watched_deployment() as deployment:
        await deployment.silences(*calls)  # imports what the first calls need
        for _ in range(rounds):
            for name, batch in [*((call.name, [call]) for call in calls), (TOGETHER, calls)]:
                for kind, silence in (await deployment.silences(*batch)).items():
                    longest[kind, name] = max(longest.get((kind, name), 0.0), 1000 * silence.seconds)
    by_service: dict[str, dict[str, float]] = {}
    for (kind, name), milliseconds in longest.items():
        by_service.setdefault(kind, {})[name] = milliseconds
    return report(by_service, rounds)


def report(longest: Mapping[str, Mapping[str, float]], rounds: int) -> Report:
    """Return the report of the longest silences in milliseconds, by service and call."""
    figures = []
    for kind, by_call in longest.items():
        alone = {name: value for name, value in by_call.items() if name != TOGETHER}
        worst = max(alone, key=alone.__getitem__)
        figures += [
            Figure(f"longest silence of the {kind}, one call at a time", alone[worst], "ms", bar=at_most(_MAX_SILENCE)),
            Figure(f"longest silence of the {kind}, {TOGETHER}", by_call[TOGETHER], "ms", bar=at_most(_MAX_SILENCE)),
        ]
    return Report(
        "silence",
        {"rounds": rounds},
        figures,
        notes=["A silence is a time in which the event loop of a service runs nothing else, such as a health check."],
        details={kind: dict(by_call) for kind, by_call in longest.items()},
    )
