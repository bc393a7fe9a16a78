"""`motet serve`: one service, from its settings to its exit."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import TypeVar

import grpc

from motet.core.bundle import Manifest
from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.telemetry.families import process_metrics
from motet.core.telemetry.service_kind import ServiceKind
from motet.models.dtype import DtypeSetting
from motet.models.gpu.gpu_in_use import gpu_readings
from motet.models.llm.config import EngineConfig
from motet.transport.access.authentication import ANYONE, Authentication, Authenticator, PeerCertificates
from motet.transport.access.bearer_tokens import BearerTokens
from motet.transport.address import check_exposed, check_free
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.health_reporter import Readiness
from motet.transport.metrics_server import MetricsServer
from motet.transport.server import Server, Servicer, no_cleanup, no_final_message
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.https import HttpsContext
from motet.transport.tls.reload import ReloadedCertificates
from services.capacity_servicer import CapacityServicer
from services.confinement import report_confinement
from services.exit_codes import Exit
from services.factory import Factory, open_bundle
from services.lazy import LazyWorker
from services.logs.levels import LogLevelFile
from services.ready_line import ReadyLine
from services.settings import ServiceSettings, WorkerSettings
from services.tracing.tracing import traced

T = TypeVar("T")

_NICENESS = 15
"""Niceness of a service in the background. A process of niceness 0 gets about thirty times its CPU time.

Niceness 19 and the kernel's idle class help other processes no more, and starve this service on a busy machine.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadyService:
    """A service that is ready for calls.

    `finish` waits for work that outlives its call. `interrupt` ends all work with its final messages. `readiness`
    returns the names, in the health service, of what can be served or not. `before_scrape` refreshes metrics.
    """

    servicers: Sequence[Servicer]
    finish: Callable[[], Awaitable[None]] = no_cleanup
    interrupt: Callable[[], None] = no_final_message
    readiness: Readiness = dict
    before_scrape: Callable[[], Awaitable[None]] = no_cleanup


async def no_bearer_tokens(stack: AsyncExitStack) -> None:
    """Return None: workers accept certificates only."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is not running yet.

    The process exports the metrics of `kind`. `name` is for people. `open` loads the service, which takes
    seconds, and closes it on exit. `bearer_tokens` returns the authenticator of keys and tokens, if the service
    accepts some.
    """

    kind: ServiceKind
    name: str
    listen: str
    settings: ServiceSettings
    limiter: ConcurrencyLimiter
    open: Callable[[], AbstractAsyncContextManager[ReadyService]]
    bearer_tokens: Callable[[AsyncExitStack], Awaitable[BearerTokens | None]] = no_bearer_tokens


def worker_service(
    kind: ServiceKind,
    name: str,
    listen: str,
    settings: WorkerSettings,
    parts: Callable[[Manifest], tuple[str, ...]],
    servicer: Callable[[Factory], Servicer],
    engine_config: EngineConfig | None = None,
    batch_tolerance: float | None = None,
    decodes_media: Callable[[Manifest], bool] = lambda manifest: False,
) -> Service:
    """Return the service of one worker. It opens, and verifies, only the bundle's files in `parts`.

    `engine_config` is a language model's. `batch_tolerance` is a decoder's. A worker that decodes media reports their
    confinement.
    """
    limiter = ConcurrencyLimiter(settings.max_running, settings.max_queued)

    @asynccontextmanager
    async def opened() -> AsyncIterator[ReadyService]:
        def load() -> tuple[Servicer, str]:
            factory = factory_of(settings, parts, settings.device, settings.dtype, engine_config, batch_tolerance)
            if decodes_media(factory.manifest):
                report_confinement(settings)
            report_bundle(factory)
            return servicer(factory), factory.digest

        worker, digest = await LazyWorker(load, name).ready(Deadline.never())
        with gpu_readings(kind, settings.device) as refresh:
            yield ReadyService([worker, CapacityServicer(limiter, digest)], before_scrape=refresh)

    return Service(kind, name, listen, settings, limiter, opened)


def factory_of(
    settings: ServiceSettings,
    parts: Callable[[Manifest], tuple[str, ...]],
    device: str = "auto",
    dtype: DtypeSetting = "auto",
    engine_config: EngineConfig | None = None,
    batch_tolerance: float | None = None,
) -> Factory:
    """Return the factory of the settings' bundle, or of toys. Raises `BundleError`, which names the wrong file."""
    if settings.toy:
        factory = Factory.of_toys(settings.toy_delay)
        parts(factory.manifest)
        return factory
    manifest = open_bundle(settings.bundle, ()).manifest
    bundle = open_bundle(settings.bundle, parts(manifest))
    return Factory.of_bundle(bundle, settings.threads, device, dtype, engine_config, batch_tolerance)


def set_niceness(settings: ServiceSettings) -> None:
    """Lower the CPU priority of this process if the settings say so.

    Call this before loading, because threads inherit the niceness.
    """
    if settings.background:
        os.nice(_NICENESS)


async def serve(service: Service) -> Exit:
    """Run a service until SIGTERM or Ctrl-C, then drain it. It prints its ready line on standard output.

    Raises `BundleError`, and `SettingsError` for an address or a certificate that cannot be used, before it loads
    anything.
    """
    running = asyncio.current_task()
    assert running is not None
    # The server handles SIGTERM once it serves. Until then, the first process of a container would ignore SIGTERM.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    set_niceness(service.settings)
    try:
        remaining = await _run(service)
    except asyncio.CancelledError:
        return Exit.OK
    if remaining:
        logger.warning("calls were cancelled", extra={"calls": remaining, "grace": service.settings.grace})
    return Exit.FAILED if remaining else Exit.OK


async def _run(service: Service) -> int:
    """Run a service, and return the number of calls that it cancelled at the end of the grace period."""
    settings, started = service.settings, now()
    _report_process(service)
    async with AsyncExitStack() as stack:
        if settings.log_level_file is not None:
            await stack.enter_async_context(LogLevelFile(settings.log_level_file))
        certificates = _certificates_of(settings)
        if certificates is not None:
            await stack.enter_async_context(certificates)
        metrics_server = await stack.enter_async_context(_metrics_server(service, certificates))
        # Loading takes seconds, so the checks come first. The metrics might use the same address.
        authentication = _authentication_of(await service.bearer_tokens(stack), certificates)
        if not settings.allow_insecure:
            authenticated = not authentication.accepts_anyone
            tokens = service.bearer_tokens is not no_bearer_tokens
            remedy = f"set --tls-cert, --tls-key and {'--keys or ' if tokens else ''}--tls-client-ca"
            check_exposed(service.listen, tls=certificates is not None, authenticated=authenticated, remedy=remedy)
        check_free(service.listen)
        await stack.enter_async_context(traced(settings, service.kind.value))
        opened = await stack.enter_async_context(service.open())
        metrics_server.before_scrape = opened.before_scrape
        server = Server(
            opened.servicers,
            address=service.listen,
            limiter=service.limiter,
            reflection=settings.reflection,
            credentials=None if certificates is None else certificates.server_credentials(),
            authentication=authentication,
            allow_insecure=settings.allow_insecure,
            finish=opened.finish,
            interrupt=opened.interrupt,
            readiness=opened.readiness,
            call_limits=settings.call_limits,
        )

        def ready(server: Server) -> None:
            process_metrics.LOAD_SECONDS.set(now() - started)
            metrics_server.is_serving = server.is_serving
            print(ReadyLine(service.name, server.address, metrics_server.address), flush=True)

        return await server.run(settings.grace, ready)


def _certificates_of(settings: ServiceSettings) -> ReloadedCertificates | None:
    """Return the certificates of the settings, or None without TLS. Raises `SettingsError` for a wrong file."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    files = TlsFiles(PemPair(settings.tls_cert, settings.tls_key), settings.tls_client_ca)
    return ReloadedCertificates(files, "client_ca")


def _authentication_of(tokens: BearerTokens | None, certificates: ReloadedCertificates | None) -> Authentication:
    """Return the authentication by keys, tokens and certificates. Without any of them, anyone is accepted."""
    authenticators: list[Authenticator] = [] if tokens is None else [tokens]
    if certificates is not None and certificates.has_authorities:
        # Beside keys, a certificate without a role of Motet only secures the connection.
        authenticators.append(PeerCertificates(name_tenants=tokens is None))
    return Authentication(authenticators) if authenticators else ANYONE


def report_bundle(factory: Factory) -> None:
    """Export the bundle that this process serves."""
    process_metrics.BUNDLE.info({"name": factory.manifest.name, "digest": factory.digest})


def _report_process(service: Service) -> None:
    """Export the versions of this process, and the hash of its settings."""
    versions = {"motet": version("motet"), "python": platform.python_version(), "grpc": grpc.__version__}
    process_metrics.BUILD.info({"component": service.kind.value, **versions})
    # Replicas of one component listen at different addresses.
    settings = service.settings.model_dump_json(exclude={"listen", "metrics"})
    process_metrics.CONFIG.info({"hash": sha256(settings.encode()).hexdigest()[:16]})


def _metrics_server(service: Service, certificates: ReloadedCertificates | None) -> MetricsServer:
    """Return the metrics server, with TLS if the settings say so."""
    settings = service.settings
    mutual = settings.metrics_tls == "mutual"
    https = None if settings.metrics_tls == "off" or certificates is None else HttpsContext(certificates, mutual)
    insecure = settings.allow_insecure or settings.allow_insecure_metrics
    return MetricsServer(settings.metrics, service.kind, insecure, https=https)
