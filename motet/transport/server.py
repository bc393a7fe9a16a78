"""A gRPC server with health and a shutdown that completes the admitted calls."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.transport.access.authentication import ANYONE, Authentication
from motet.transport.access.authorization import MethodRegistry, check_listed
from motet.transport.access.running_calls import RECHECK_INTERVAL
from motet.transport.address import check_exposed, find_bind_error
from motet.transport.bounds.limits import MAX_METADATA_BYTES, CallLimits, ConnectionLimits
from motet.transport.channel import FLOW_OPTIONS
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.connection_limit import max_connections
from motet.transport.health_reporter import MIN_OUTAGE, HealthReporter, HealthServicer, Readiness
from motet.transport.interceptor import ServerInterceptor

_OPTIONS: tuple[tuple[str, int], ...] = (
    *FLOW_OPTIONS,
    # If it were on, a second server on the same port would take half of the connections instead of being refused.
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 s. By default, C-core closes connections with pings less than 300 s apart.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # With equal values, metadata beyond the limit are always refused. By default, gRPC refuses some from 8 KiB on.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # gRPC drops calls at random, without a reason, if more wait to be accepted. Its own numbers are 1,000 and 3,000, as
    # few as one caller has with a dozen connections.
    ("grpc.server.max_pending_requests", 16_384),
    ("grpc.server.max_pending_requests_hard_limit", 32_768),
)

_MIN_STREAMS = 256
"""Minimum of the maximum number of calls of one connection. A client's calls beyond the maximum wait in the client.

gRPC also counts calls that the client has reset, until the server has handled them. Without this limit, one connection
that opens and resets 5,000 calls per second delays the calls of all others, and gRPC cancels some of those.
"""

_GC_THRESHOLD = 10_000
"""`gc.set_threshold` generation 0 (Python's default is 700)."""

_FLUSH_TIMEOUT = 1.0
"""Maximum time for the final messages of the remaining calls, and again for sending all responses, in seconds."""

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""The names of the reflection service, newest first."""

_SIGNALS = signal.SIGTERM, signal.SIGINT


class Servicer(Protocol):
    """A service that a `Server` can serve."""

    @property
    def name(self) -> str:
        """The service's full name, such as "motet.v1.ModelService". Its health is reported under this name."""
        ...

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the servicer's methods."""
        ...


async def no_cleanup() -> None:
    """Do nothing: most services have no work that outlives their calls."""


def no_final_message() -> None:
    """Do nothing: the calls of most services end with their status."""


class Server:
    """A server of servicers at one address. `async with` starts and stops it; `run` also handles signals.

    Health is reported under "" and under each servicer's name, as SERVING unless `readiness` returns false for it, and
    under `LIVENESS`. `min_outage` is the minimum time from NOT_SERVING to SERVING, in seconds. Only this machine can
    connect, unless there are credentials and the `authentication` accepts no call without a
    certificate or a key, or `allow_insecure` is set. The credentials of a running call are checked again every
    `recheck_interval` seconds. `finish` is awaited during a drain once
    no call is left, for work that outlives its call. `interrupt` is called at the end of the grace period, if calls are
    left. It may end them with a final message. Other calls end with a status.
    """

    def __init__(
        self,
        servicers: Sequence[Servicer],
        *,
        address: str = "127.0.0.1:0",
        limiter: ConcurrencyLimiter | None = None,
        reflection: bool = False,
        credentials: grpc.ServerCredentials | None = None,
        authentication: Authentication = ANYONE,
        recheck_interval: float = RECHECK_INTERVAL,
        allow_insecure: bool = False,
        finish: Callable[[], Awaitable[None]] = no_cleanup,
        interrupt: Callable[[], None] = no_final_message,
        readiness: Readiness = dict,
        min_outage: float = MIN_OUTAGE,
        call_limits: CallLimits | None = None,
        connection_limits: ConnectionLimits | None = None,
    ) -> None:
        self.limiter = limiter or ConcurrencyLimiter()
        self.address = address
        self._servicers = tuple(servicers)
        self._reflection = reflection
        self._credentials = credentials
        self._authentication = authentication
        self._recheck_interval = recheck_interval
        self._insecure_anywhere = allow_insecure
        self._finish = finish
        self._interrupt = interrupt
        self._call_limits = call_limits
        self._connection_limits = connection_limits or ConnectionLimits()
        self._hurry = asyncio.Event()
        self._health = HealthServicer()
        self._reporter = HealthReporter(self._health, ("", *self._names), readiness, min_outage)

    async def start(self) -> None:
        """Bind and serve. Then `address` holds the bound port, also if port 0 was given.

        Raises `SettingsError` with reason ADDRESS_IN_USE if another process has the address, and with reason
        SETTINGS_INVALID if the address cannot be bound, or is open to the network without encryption or authentication.
        """
        if not self._insecure_anywhere:
            check_exposed(
                self.address, tls=self._credentials is not None, authenticated=not self._authentication.accepts_anyone
            )
        self._interceptor = ServerInterceptor(
            self.limiter, self._authentication, self._recheck_interval, self._call_limits
        )
        streams = max(_MIN_STREAMS, 2 * self.limiter.load.limit)
        options: dict[str, int] = {
            **dict(_OPTIONS),
            **self._connection_limits.options(),
            "grpc.max_concurrent_streams": streams,
            "grpc.max_allowed_incoming_connections": max_connections(),
        }
        self._server = grpc.aio.server(interceptors=[self._interceptor], options=tuple(options.items()))
        registry: Any = MethodRegistry(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, registry)
        for servicer in self._servicers:
            servicer.add_to(registry)
        if self._reflection:
            self._add_reflection(registry)
        check_listed(registry.methods)
        self._bind()
        # Before the first call, because the library's health service would report SERVING.
        await self._reporter.start()
        await self._server.start()
        self._closing = asyncio.create_task(self._report_closing())

    def is_serving(self, name: str) -> bool | None:
        """Return whether the health of a name is SERVING, or None if the name is unknown. "" is the whole process."""
        return self._health.is_serving(name)

    async def drain(self, grace: float | None = None) -> int:
        """Stop admission, and wait up to `grace` seconds for the admitted calls. Return the number of calls left.

        Health is NOT_SERVING from the start, except that of `LIVENESS`. Methods that start no work are still answered.
        """
        self.limiter.close()
        await self._health.enter_graceful_shutdown()
        ending, hurrying = asyncio.create_task(self._end_work()), asyncio.create_task(self._hurry.wait())
        await asyncio.wait({ending, hurrying}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if ending.done():
            ending.result()
            return 0
        left = max(1, self.limiter.load.running + self.limiter.load.queued)
        self._interrupt()
        await asyncio.wait({ending}, timeout=_FLUSH_TIMEOUT)
        ending.cancel()
        return left

    async def stop(self) -> None:
        """Cancel all remaining calls, and release the address.

        After a drain, the remaining calls end with the status DRAINING, and all responses are sent first.
        """
        self._closing.cancel()
        self._reporter.stop()
        if self.limiter.load.draining:
            self._interceptor.interrupt()
            await self._interceptor.flush(_FLUSH_TIMEOUT)
        await self._server.stop(None)

    async def run(self, grace: float = 30.0, ready: Callable[[Server], None] = lambda server: None) -> int:
        """Serve until SIGTERM or SIGINT, then drain and stop. Return the number of calls left after `grace` seconds.

        `ready` is called once health is SERVING. A second signal ends the grace period, a third one the process.
        """
        freeze_garbage_collector()
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                self._hurry.set()
                _restore_signals(loop)
            stop.set()

        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
        try:
            async with self:
                ready(self)
                await stop.wait()
                return await self.drain(grace)
        finally:
            _restore_signals(loop)
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
            raise find_bind_error(self.address) from None
        if not self.address.startswith("unix"):
            self.address = f"{self.address.rpartition(':')[0]}:{port}"

    def _add_reflection(self, registry: MethodRegistry) -> None:
        """Serve reflection in both versions of its protocol, whose messages are equal."""
        from grpc_reflection.v1alpha import reflection, reflection_pb2

        # Listed services must have a descriptor, and no package has that of grpc.reflection.v1.
        listed = (*self._names, _HEALTH, reflection.SERVICE_NAME)
        handler = grpc.stream_stream_rpc_method_handler(
            reflection.aio.ReflectionServicer(listed).ServerReflectionInfo,
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for name in REFLECTION_SERVICES:
            handlers = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
            registry.add_generic_rpc_handlers((handlers,))

    async def _end_work(self) -> None:
        """Wait until no call is left, and no work that outlives its call."""
        await self.limiter.drain()
        await self._finish()

    async def _report_closing(self) -> None:
        """Set health to NOT_SERVING as soon as the limiter is closed."""
        await self.limiter.wait_closed()
        await self._health.enter_graceful_shutdown()


def freeze_garbage_collector() -> None:
    """Exclude all present objects from garbage collection, which would stop all calls for about 0.1 seconds.

    `Server.run` calls this after loading. Benchmarks call it, too, because they do not use `Server.run`.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


def _restore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Let the next signal end the process."""
    for number in _SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
