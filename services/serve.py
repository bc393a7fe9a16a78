"""`motet serve`: one service, from its settings to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from motet.core.bundle import Manifest
from motet.core.deadline import Deadline
from motet.models.llm.config import EngineConfig
from motet.transport.address import bind_error, split_address
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.metrics_server import MetricsServer
from motet.transport.server import Server, Servicer
from services.capacity_servicer import CapacityServicer
from services.exit_codes import Exit
from services.factory import Factory, open_bundle
from services.lazy import LazyWorker
from services.ready_line import ReadyLine
from services.settings import ServiceSettings, WorkerSettings

T = TypeVar("T")

_NICE = 15
"""How nice a service in the background is: another counts about thirty times as much where both want a processor, and
hardly notices. 19 or the kernel's idle class would be no better to others, and starve where all processors are wanted.
"""

log = structlog.stdlib.get_logger(__name__)


async def _nothing() -> None:
    """What most services have left to do once their calls are over."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A service that is ready for calls. `finish` waits for work that has outlived its call."""

    servicers: Sequence[Servicer]
    finish: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True, slots=True)
class Service:
    """A service that can be run: its name for people, its settings, and what makes it ready, which takes seconds."""

    name: str
    listen: str
    settings: ServiceSettings
    limiter: ConcurrencyLimiter
    opened: Callable[[], AbstractAsyncContextManager[Opened]]


def worker_service(
    name: str,
    listen: str,
    settings: WorkerSettings,
    parts: Callable[[Manifest], tuple[str, ...]],
    servicer: Callable[[Factory], Servicer],
    budget: EngineConfig | None = None,
    batch_tolerance: float = 0.0,
) -> Service:
    """A service of one worker. Of its bundle, only the files under `parts` are verified, as it opens no others.

    `budget` bounds a language model; `batch_tolerance` is a decoder's.
    """
    limiter = ConcurrencyLimiter(settings.max_running, settings.max_queued)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened]:
        def load() -> tuple[Servicer, str]:
            factory = factory_of(settings, parts, settings.device, budget, batch_tolerance)
            return servicer(factory), factory.digest

        worker, digest = await LazyWorker(load, name).ready(Deadline.never())
        yield Opened([worker, CapacityServicer(limiter, digest)])

    return Service(name, listen, settings, limiter, opened)


def factory_of(
    settings: ServiceSettings,
    parts: Callable[[Manifest], tuple[str, ...]],
    device: str = "auto",
    budget: EngineConfig | None = None,
    batch_tolerance: float = 0.0,
) -> Factory:
    """What makes the workers of the bundle that the settings name, or toys. Raises `BundleError`, naming the file."""
    if settings.toy:
        factory = Factory.of_toys(settings.toy_delay)
        parts(factory.manifest)
        return factory
    manifest = open_bundle(settings.bundle, ()).manifest
    bundle = open_bundle(settings.bundle, parts(manifest))
    return Factory.of_bundle(bundle, settings.threads, device, budget, batch_tolerance)


async def serve(service: Service) -> Exit:
    """Run a service until SIGTERM or Ctrl-C, and drain it; one line on standard output says where, once it serves.

    Raises `SettingsError` for an address that cannot be had, before anything is loaded, and `BundleError`.
    """
    running = asyncio.current_task()
    assert running is not None
    # A server obeys signals from when it serves. Before that, a container's first process would ignore this one.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    _check_free(service.listen)
    if service.settings.background:
        # Before anything is loaded: threads are as nice as who starts them.
        os.nice(_NICE)
    try:
        left = await _served(service)
    except asyncio.CancelledError:
        return Exit.OK
    if left:
        log.warning("calls were broken off", calls=left, grace=service.settings.grace)
    return Exit.FAILED if left else Exit.OK


async def _served(service: Service) -> int:
    settings = service.settings
    metrics = MetricsServer(settings.metrics, settings.anywhere)
    metrics.start()
    try:
        async with service.opened() as opened:
            server = Server(
                opened.servicers,
                address=service.listen,
                limiter=service.limiter,
                insecure_anywhere=settings.anywhere,
                finish=opened.finish,
            )
            return await server.run(
                settings.grace,
                lambda bound: print(ReadyLine(service.name, bound.address, metrics.address), flush=True),
            )
    finally:
        metrics.stop()


def _check_free(address: str) -> None:
    """Loading takes seconds: a port that is taken is better told before."""
    if address.startswith("unix"):
        return
    host, port = split_address(address)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise bind_error(address, error) from None
