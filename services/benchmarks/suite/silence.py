"""The benchmark `silence`: the longest time in which a service answers nothing, under calls at every limit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio

from motet.toys.manifest import TOY
from motet.transport.channel import open_channel
from services.benchmarks.load.limit_calls import LimitCall, limit_calls
from services.benchmarks.load.watched_service import Silence, SilenceFile
from services.benchmarks.reports.report import Figure, Report, at_most
from services.child_process import ChildProcess

TOGETHER = "all together"
OF_SERVICE = "all of the service together"

_BAR = at_most(100)
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
    """Measure every call alone, the calls of each service at the same time, and all calls, in rounds."""
    return asyncio.run(_measure(rounds))


async def _measure(rounds: int) -> Report:
    calls = limit_calls()
    longest: dict[str, dict[str, Silence]] = {}
    async with watched_deployment() as deployment:
        await deployment.silences(*calls)  # imports what the first calls need
        for _ in range(rounds):
            for name, batch in [*((call.name, [call]) for call in calls), (TOGETHER, calls)]:
                for kind, silence in (await deployment.silences(*batch)).items():
                    _add(longest.setdefault(kind, {}), name, silence)
            for kind in deployment.channels:
                silences = await deployment.silences(*(call for call in calls if call.service == kind))
                _add(longest[kind], OF_SERVICE, silences[kind])
    return report(longest, rounds)


def _add(by_call: dict[str, Silence], name: str, silence: Silence) -> None:
    by_call[name] = silence.longer(by_call.get(name, silence))


def report(longest: Mapping[str, Mapping[str, Silence]], rounds: int) -> Report:
    """Return the report of the longest silences, by service and call."""
    figures = []
    for kind, by_call in longest.items():
        single = (silence for name, silence in by_call.items() if name not in (TOGETHER, OF_SERVICE))
        alone = max(single, key=lambda one: one.seconds)
        together = by_call[TOGETHER]
        for name, seconds in (
            ("one call at a time", alone.seconds),
            (OF_SERVICE, by_call[OF_SERVICE].seconds),
            (TOGETHER, together.seconds),
            (f"{TOGETHER}, processor time", together.processor_seconds),
        ):
            figures.append(Figure(f"longest silence of the {kind}, {name}", 1000 * seconds, "ms", bar=_BAR))
    return Report(
        "silence",
        {"rounds": rounds},
        figures,
        notes=[
            "A silence is a time in which the event loop of a service runs nothing else, such as a health check.",
            "The processor time of a silence excludes the time in which other processes had the processor.",
        ],
        details={kind: {name: asdict(one) for name, one in by_call.items()} for kind, by_call in longest.items()},
    )
