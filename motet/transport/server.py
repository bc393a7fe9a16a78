"""A process that serves: it binds, tells its health, counts, and leaves without breaking off what it has begun."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from motet.transport.address import bind_failure, check_local
from motet.transport.channel import FLOW_OPTIONS
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.interceptor import ServerInterceptor
from motet.transport.metrics_server import MetricsServer

_OPTIONS: tuple[tuple[str, int], ...] = (
    *FLOW_OPTIONS,
    # With it on, a second server takes half of a first one's connections instead of being refused its port.
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 s; C-core's default is to hang up on any that ping within 300 s.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)

_GARBAGE = 10_000
"""Objects made, less those dropped, before Python looks for cycles among them; its own number is 700."""

_FLUSH = 1.0
"""Seconds, at most, for answers that are on their way out when the last admitted call has finished."""


class Servicer(Protocol):
    """A service that a `Server` can serve."""

    @property
    def name(self) -> str:
        """The service's full name, such as "motet.v1.ModelService"; its health is told under it."""
        ...

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer's methods."""
        ...


async def _nothing() -> None:
    """What most servers have left to do once their calls are over."""


class Server:
    """Serves servicers at an address; `async with` starts and stops it, `run` also obeys signals.

    Health is told under "" and each servicer's name. Plain text is served to this machine only, unless
    `insecure_anywhere` says otherwise in words. `metrics` is where Prometheus may look, HOST:PORT, or "" for nowhere.
    `finish` is awaited while draining, once no call is left: for work that has outlived its call.
    """

    def __init__(
        self,
        servicers: Sequence[Servicer],
        *,
        address: str = "127.0.0.1:0",
        gate: ConcurrencyLimiter | None = None,
        metrics: str = "",
        reflection: bool = False,
        credentials: grpc.ServerCredentials | None = None,
        insecure_anywhere: bool = False,
        finish: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self.gate = gate or ConcurrencyLimiter()
        self.address = address
        self._servicers = tuple(servicers)
        self._reflection = reflection
        self._credentials = credentials
        self._insecure_anywhere = insecure_anywhere
        self._finish = finish
        self._exposition = MetricsServer(metrics, insecure_anywhere) if metrics else None
        self._health = health.HealthServicer()

    async def start(self) -> None:
        """Bind and serve. From then on `address` holds the port that was bound, also where 0 was asked for.

        Raises `SettingsError`: reason ADDRESS_IN_USE when somebody else is there, SETTINGS_INVALID for an address
        that cannot be bound, or that is open to the network without credentials.
        """
        if self._credentials is None and not self._insecure_anywhere:
            check_local(self.address)
        self._edge = ServerInterceptor(self.gate)
        self._server = grpc.aio.server(interceptors=[self._edge], options=_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        for servicer in self._servicers:
            servicer.add_to(self._server)
        if self._reflection:
            self._reflect()
        self._bind()
        if self._exposition:
            self._exposition.start()
        await self._server.start()
        self._leaving = asyncio.create_task(self._tell_closing())
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self, grace: float | None = None) -> int:
        """Stop admitting and finish what was admitted, within `grace` seconds; how many calls were left over.

        Health says NOT_SERVING from the start. The server goes on answering calls that ask for no work.
        """
        await self._health.enter_graceful_shutdown()
        deadline = None if grace is None else asyncio.get_running_loop().time() + grace
        left = await self.gate.drain(grace)
        try:
            async with asyncio.timeout_at(deadline):
                await self._finish()
        except TimeoutError:
            left += 1
        return left

    async def stop(self) -> None:
        """End every call that is still there, and let go of the address.

        After a drain, the answers that are on their way out are sent to their ends first.
        """
        self._leaving.cancel()
        if self.gate.capacity.draining:
            await self._edge.empty(_FLUSH)
        await self._server.stop(None)
        if self._exposition:
            await asyncio.to_thread(self._exposition.stop)

    async def run(self, grace: float = 30.0, ready: Callable[[Server], None] = lambda server: None) -> int:
        """Serve until SIGTERM or SIGINT, drain, stop; how many calls were left over after `grace` seconds.

        `ready` is called once health says SERVING. A second signal ends the process at once.
        """
        spare_what_is_loaded()
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _once, loop, asked)
        try:
            async with self:
                ready(self)
                await asked.wait()
                return await self.drain(grace)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            signal.signal(signal.SIGINT, signal.default_int_handler)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(servicer.name for servicer in self._servicers)

    def _bind(self) -> None:
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(self.address)
            else:
                port = self._server.add_secure_port(self.address, self._credentials)
        except RuntimeError:
            raise bind_failure(self.address) from None
        if not self.address.startswith("unix"):
            self.address = f"{self.address.rpartition(':')[0]}:{port}"

    def _reflect(self) -> None:
        from grpc_reflection.v1alpha import reflection

        reflection.enable_server_reflection((*self._names, reflection.SERVICE_NAME), self._server)

    async def _tell_closing(self) -> None:
        """Whoever closes the gate, health says so."""
        await self.gate.closed()
        await self._health.enter_graceful_shutdown()


def spare_what_is_loaded() -> None:
    """Never look for garbage in what was loaded: that takes a tenth of a second, in which no call goes on.

    Done by `Server.run`, and by whoever measures what runs in a process that does not serve.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def _once(loop: asyncio.AbstractEventLoop, asked: asyncio.Event) -> None:
    asked.set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
