"""`motet up`: every service of a bundle as local processes, from one command to one Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from motet.core.bundle import Manifest
from motet.core.errors import MotetError, SettingsError
from motet.toys.manifest import TOY
from services.child_process import ChildProcess
from services.exit_codes import Exit
from services.factory import open_bundle
from services.ready_line import ReadyLine

T = TypeVar("T")

ANY_PORT = "127.0.0.1:0"
ORCHESTRATOR = "orchestrator"
ENCODER = "encoder"
LANGUAGE_MODEL = "llm"
MOST_REPLICAS = 64


@dataclass(frozen=True, slots=True)
class Deployment:
    """What to start: a bundle's services, or the toys', with an orchestrator on `port` of this machine (0: a free one).

    `grace` is how many seconds each service has to finish its work when all is over. `replicas` says of which workers
    there are several: by modality, "encoder" or "llm". With `background`, decoders leave the processors to the others:
    for media one waits seconds anyway, for text word by word.
    """

    manifest: Manifest
    bundle: str = "nano"
    port: int = 50050
    threads: int = 1
    toy: bool = False
    toy_delay: float = 0.0
    grace: float = 20.0
    log_level: str = "warning"
    replicas: Mapping[str, int] = field(default_factory=dict)
    background: bool = True

    def workers(self) -> Mapping[str, list[str]]:
        """Each worker's name and how `motet serve` is told to be it."""
        return {
            name: [*kind, "--listen", ANY_PORT, *self._common()] for names, kind, _ in self._kinds() for name in names
        }

    def orchestrator(self, addresses: Mapping[str, str]) -> list[str]:
        """How `motet serve` is told to be an orchestrator of workers at these addresses."""
        workers = [f"{option}{addresses[name]}" for names, _, option in self._kinds() for name in names]
        return [ORCHESTRATOR, "--listen", f"127.0.0.1:{self.port}", *workers, *self._common()]

    def _kinds(self) -> Iterator[tuple[list[str], list[str], str]]:
        """Of each kind of worker the replicas' names, what `motet serve` calls it and what introduces its address."""
        yield self._named("encoder", ENCODER), ["encoder"], "--encoder="
        yield self._named("language model", LANGUAGE_MODEL), ["llm"], "--language-model="
        for modality in self.manifest.signals:
            names = self._named(f"{modality} decoder", modality)
            decoder = ["decoder", "--modality", modality, *["--background"] * self.background]
            yield names, decoder, f"--decoder={modality}="

    def _named(self, name: str, key: str) -> list[str]:
        return [name, *(f"{name} {number}" for number in range(2, self.replicas.get(key, 1) + 1))]

    def _common(self) -> Iterator[str]:
        yield from ("--bundle", self.bundle, "--metrics", ANY_PORT, "--threads", str(self.threads))
        if self.toy:
            yield from ("--toy", "--toy-delay", str(self.toy_delay))


def deployment_of(
    bundle: str,
    port: int,
    threads: int,
    toy: bool,
    toy_delay: float,
    replicas: Sequence[str] = (),
    background: bool = True,
) -> Deployment:
    """The deployment of a bundle, or of toys; `replicas` as they were typed, WORKER=NUMBER.

    Raises `BundleError`, and `SettingsError` for replicas of nothing; weights are verified by the services themselves.
    """
    manifest = TOY if toy else open_bundle(bundle, ()).manifest
    numbers = dict(_number(pair, (ENCODER, LANGUAGE_MODEL, *manifest.signals)) for pair in replicas)
    return Deployment(manifest, bundle, port, threads, toy, toy_delay, replicas=numbers, background=background)


def _number(pair: str, workers: Sequence[str]) -> tuple[str, int]:
    worker, _, number = pair.rpartition("=")
    if worker not in workers or not number.isdecimal() or not 1 <= int(number) <= MOST_REPLICAS:
        known = ", ".join(workers)
        raise SettingsError(f"--replicas takes WORKER=NUMBER, 1 to {MOST_REPLICAS} of {known}, not {pair!r}")
    return worker, int(number)


class LocalDeployment:
    """The processes of one deployment: started together, drained in the right order."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._children: dict[str, ChildProcess] = {}

    async def start(self) -> dict[str, ReadyLine]:
        """Start the workers together and then the orchestrator; where each serves, once all do.

        Raises `MotetError`, naming the first that did not come up.
        """
        deployment = self._deployment
        for name, arguments in deployment.workers().items():
            self._children[name] = await ChildProcess.start(name, arguments, deployment.log_level)
        ready = await _together({name: _ready(child) for name, child in self._children.items()})
        arguments = deployment.orchestrator({name: announcement.address for name, announcement in ready.items()})
        self._children[ORCHESTRATOR] = await ChildProcess.start(ORCHESTRATOR, arguments, deployment.log_level)
        return {ORCHESTRATOR: await _ready(self._children[ORCHESTRATOR]), **ready}

    async def first_death(self) -> None:
        """Wait. Raises `MotetError` once one of them ends unasked."""
        deaths = [asyncio.create_task(child.death()) for child in self._children.values()]
        try:
            done, _ = await asyncio.wait(deaths, return_when=asyncio.FIRST_COMPLETED)
            raise done.pop().result()
        finally:
            for death in deaths:
                death.cancel()

    async def drain(self) -> None:
        """End all: first the orchestrator, which still needs the workers for what it has begun."""
        grace = self._deployment.grace
        try:
            if ORCHESTRATOR in self._children:
                await self._children[ORCHESTRATOR].drained(grace)
            await asyncio.gather(*(child.drained(grace) for child in self._children.values()))
        finally:
            await asyncio.gather(*(child.killed() for child in self._children.values()))


async def up(deployment: Deployment) -> Exit:
    """Run until Ctrl-C or SIGTERM, then drain; asked twice, kill. No process is left behind, whatever happens.

    Raises `MotetError` when a service does not start, or ends unasked; the others are drained then, too.
    """
    stop = asyncio.Event()
    ensemble = LocalDeployment(deployment)
    draining: list[asyncio.Task[None]] = []

    def asked() -> None:
        if stop.is_set():
            for task in draining:
                task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)
    try:
        if (ready := await _unless(stop, ensemble.start())) is not None:
            _print_table(ready)
            await _unless(stop, ensemble.first_death())
    except MotetError as error:
        # Draining may take a while; who waits wants to know why.
        _tell(f"stopping, because {error.message}")
        raise
    finally:
        _tell("services finish what they have begun")
        draining.append(asyncio.create_task(ensemble.drain()))
        await asyncio.wait(draining)
    return Exit.OK


async def _ready(child: ChildProcess) -> ReadyLine:
    announcement = await child.announced()
    _tell(f"{child.name} is ready")
    return announcement


async def _together(waited: Mapping[str, Coroutine[Any, Any, T]]) -> dict[str, T]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(coroutine) for name, coroutine in waited.items()}
    except BaseExceptionGroup as errors:
        # Callers expect our errors, not a group of them.
        raise errors.exceptions[0] from None
    return {name: task.result() for name, task in tasks.items()}


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result, or None when `stop` came first; the work is cancelled then."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.wait((working,))
    return None


def _tell(line: str) -> None:
    print(f"motet: {line}", file=sys.stderr, flush=True)


def _print_table(ready: Mapping[str, ReadyLine]) -> None:
    width = max(map(len, ready))
    print(f"{'service':<{width}}  {'address':<21}  metrics")
    for name, announcement in ready.items():
        print(f"{name:<{width}}  {announcement.address:<21}  {announcement.metrics}")
    print(f'\nmotet run --server {ready[ORCHESTRATOR].address} "..."    Ctrl-C stops everything', flush=True)
