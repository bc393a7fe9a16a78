"""`motet up`: all services of a bundle as local processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from motet.core.bundle import Manifest
from motet.core.errors import MotetError, SettingsError
from motet.toys.manifest import TOY
from services.child_process import ChildProcess
from services.exit_codes import Exit
from services.factory import open_bundle
from services.ready_line import ReadyLine
from services.terminal import print_status

T = TypeVar("T")

ANY_PORT = "127.0.0.1:0"
ORCHESTRATOR = "orchestrator"
ENCODER = "encoder"
LANGUAGE_MODEL = "llm"
MAX_REPLICAS = 64


@dataclass(frozen=True, slots=True)
class Deployment:
    """The services of a bundle, or of toys, on this machine.

    `port` is the orchestrator's; 0 takes a free port. `replicas` maps a modality, "encoder" or "llm" to its number of
    replicas. `grace` is the time to finish running calls, in seconds. With `background`, decoders run at low CPU
    priority: a user waits seconds for media, but reads text as it is written.
    """

    manifest: Manifest
    bundle: str
    port: int
    threads: int
    toy: bool
    toy_delay: float
    background: bool
    replicas: Mapping[str, int] = field(default_factory=dict)
    grace: float = 20.0
    log_level: str = "warning"

    def workers(self) -> Mapping[str, list[str]]:
        """Return the arguments of `motet serve` for each worker, by its name."""
        return {
            name: [*arguments, "--listen", ANY_PORT, *self._common()]
            for names, arguments, _ in self._kinds()
            for name in names
        }

    def orchestrator(self, addresses: Mapping[str, str]) -> list[str]:
        """Return the arguments of `motet serve` for the orchestrator of workers at these addresses."""
        workers = [f"{option}{addresses[name]}" for names, _, option in self._kinds() for name in names]
        return [ORCHESTRATOR, "--listen", f"127.0.0.1:{self.port}", *workers, *self._common()]

    def _kinds(self) -> Iterator[tuple[list[str], list[str], str]]:
        """Yield each kind of worker: the replicas' names, their arguments, and the orchestrator's option for them."""
        yield self._names("encoder", ENCODER), ["encoder"], "--encoder="
        yield self._names("language model", LANGUAGE_MODEL), ["llm"], "--language-model="
        for modality in self.manifest.signals:
            names = self._names(f"{modality} decoder", modality)
            decoder = ["decoder", "--modality", modality, *["--background"] * self.background]
            yield names, decoder, f"--decoder={modality}="

    def _names(self, name: str, key: str) -> list[str]:
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
    background: bool,
    replicas: Mapping[str, int] | None = None,
) -> Deployment:
    """Return the deployment of a bundle, or of toys. The services themselves verify the weights.

    Raises `BundleError`, and `SettingsError` for replicas of an unknown worker.
    """
    manifest = TOY if toy else open_bundle(bundle, ()).manifest
    replicas = replicas or {}
    workers = (ENCODER, LANGUAGE_MODEL, *manifest.signals)
    for worker, number in replicas.items():
        if worker not in workers or not 1 <= number <= MAX_REPLICAS:
            form = f"WORKER=NUMBER, 1 to {MAX_REPLICAS} of {', '.join(workers)}"
            raise SettingsError(f"--replicas takes {form}, not '{worker}={number}'")
    return Deployment(manifest, bundle, port, threads, toy, toy_delay, background, replicas)


class LocalDeployment:
    """The processes of one deployment. They start in parallel and drain in order."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._children: dict[str, ChildProcess] = {}

    async def start(self) -> dict[str, ReadyLine]:
        """Start the workers, then the orchestrator, and return the ready line of each.

        Raises `MotetError`, which names the first service that failed to start.
        """
        deployment = self._deployment
        for name, arguments in deployment.workers().items():
            self._children[name] = await ChildProcess.start(name, arguments, deployment.log_level)
        ready = await _gather({name: _ready(child) for name, child in self._children.items()})
        arguments = deployment.orchestrator({name: ready_line.address for name, ready_line in ready.items()})
        self._children[ORCHESTRATOR] = await ChildProcess.start(ORCHESTRATOR, arguments, deployment.log_level)
        return {ORCHESTRATOR: await _ready(self._children[ORCHESTRATOR]), **ready}

    async def wait(self) -> None:
        """Wait until any process ends, and raise `MotetError`, which names the process."""
        waits = [asyncio.create_task(child.wait()) for child in self._children.values()]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            raise done.pop().result()
        finally:
            for task in waits:
                task.cancel()

    async def drain(self) -> None:
        """Drain and stop all processes, the orchestrator first, because its running requests need the workers."""
        grace = self._deployment.grace
        try:
            if ORCHESTRATOR in self._children:
                await self._children[ORCHESTRATOR].drain(grace)
            await asyncio.gather(*(child.drain(grace) for child in self._children.values()))
        finally:
            await asyncio.gather(*(child.kill() for child in self._children.values()))


async def up(deployment: Deployment) -> Exit:
    """Run a deployment until Ctrl-C or SIGTERM, then drain it. A second signal kills it. No process survives.

    Raises `MotetError` if a service fails to start or ends on its own. The other services are then drained too.
    """
    stop = asyncio.Event()
    processes = LocalDeployment(deployment)
    draining: list[asyncio.Task[None]] = []

    def on_signal() -> None:
        if stop.is_set():
            for task in draining:
                task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        if (ready := await _run_until(stop, processes.start())) is not None:
            _print_table(ready)
            await _run_until(stop, processes.wait())
    except MotetError as error:
        # Draining takes time. Print the cause before it.
        print_status(f"stopping, because {error.message}")
        raise
    finally:
        print_status("services finish their running calls")
        draining.append(asyncio.create_task(processes.drain()))
        await asyncio.wait(draining)
    return Exit.OK


async def _ready(child: ChildProcess) -> ReadyLine:
    ready_line = await child.wait_ready()
    print_status(f"{child.name} is ready")
    return ready_line


async def _gather(coroutines: Mapping[str, Coroutine[Any, Any, T]]) -> dict[str, T]:
    """Run coroutines concurrently, and return their results. Raises the first error, and cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(coroutine) for name, coroutine in coroutines.items()}
    except BaseExceptionGroup as errors:
        # Callers expect a `MotetError`, not a group.
        raise errors.exceptions[0] from None
    return {name: task.result() for name, task in tasks.items()}


async def _run_until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`. If `stop` is set first, cancel `work` and return None."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.wait((working,))
    return None


def _print_table(ready: Mapping[str, ReadyLine]) -> None:
    width = max(map(len, ready))
    print(f"{'service':<{width}}  {'address':<21}  metrics")
    for name, ready_line in ready.items():
        print(f"{name:<{width}}  {ready_line.address:<21}  {ready_line.metrics}")
    print(f'\nmotet run --server {ready[ORCHESTRATOR].address} "..."    Ctrl-C stops everything', flush=True)
