"""The orchestrator service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from motet.core.bundle import Manifest
from motet.core.files.reloaded_file import ReloadedFile
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.workers import Decoder, Encoder, LanguageModel, Workers, is_available
from motet.media.decode import probe
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Servicer
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from orchestrator.orchestrator import Orchestrator
from orchestrator.quota.limits import QuotaClasses, no_quotas, parse_quota_classes
from services.confinement import report_confinement
from services.orchestrator.health import health_of
from services.orchestrator.pools import pooled_workers
from services.orchestrator.scaler.server import scaler_server
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer, QuotaServicer
from services.orchestrator.settings import OrchestratorServiceSettings, addresses_of
from services.orchestrator.uploads import Uploads
from services.serve import ReadyService, Service, factory_of, report_bundle
from services.settings import settings_of

_POLL_INTERVAL = 0.05
"""Seconds between two checks whether detached generations and watchers have ended, or the workers are connected."""

_CONNECT_TIMEOUT = 1.0
"""Maximum time for the first connections to the workers, in seconds."""


def orchestrator_service(options: dict[str, Any]) -> Service:
    """Return the service with settings from options and the environment. Raises `SettingsError`.

    Opening the service raises `SettingsError` for a certificate or a file of quotas that cannot be used, and for the
    address of a decoder whose modality the bundle does not have.
    """
    settings = settings_of(OrchestratorServiceSettings, options | {"decoders": addresses_of(options.get("decoders"))})
    limiter = ConcurrencyLimiter()

    @asynccontextmanager
    async def opened() -> AsyncIterator[ReadyService]:
        await asyncio.to_thread(report_confinement, settings)
        # The orchestrator reads only the manifest, so no weights are verified.
        factory = factory_of(settings, lambda manifest: ())
        report_bundle(factory)
        async with AsyncExitStack() as stack:
            manifest = factory.manifest
            quotas = no_quotas if settings.quotas is None else await _quotas_of(settings.quotas, manifest, stack)
            certificates = None if settings.tls_ca is None else _certificates_for_workers(settings, settings.tls_ca)
            if certificates is not None:
                await stack.enter_async_context(certificates)
            workers = await pooled_workers(settings, manifest, stack, certificates, bundle_digest=factory.digest)
            probe_as_encoder = partial(probe, preprocessing=manifest.encoder.preprocessing)
            orchestrator = await stack.enter_async_context(
                Orchestrator(workers, manifest, factory.digest, settings, probe_as_encoder, quotas)
            )
            generations = GenerationServicer(orchestrator.for_caller, settings.heartbeat)

            async def finish() -> None:
                # Detached generations outlive their calls, and no event announces their end.
                while orchestrator.running or generations.watchers:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_INTERVAL)

            def readiness() -> dict[str, bool]:
                return health_of(orchestrator.availability)

            await _wait_connected(workers)
            uploads = Uploads(settings.upload_limits)
            stack.callback(asyncio.create_task(uploads.close_with(limiter)).cancel)
            servicers: list[Servicer] = [
                generations,
                ArtifactServicer(orchestrator.for_caller, uploads),
                ModelServicer(orchestrator.for_caller),
                QuotaServicer(orchestrator.for_caller),
            ]
            if settings.scaler_listen is not None:
                calls = {name: pool.calls for name, pool in workers.pools.items()}
                scaler = scaler_server(settings.scaler_listen, settings, calls, limiter, readiness)
                await stack.enter_async_context(scaler)
            yield ReadyService(servicers, finish, orchestrator.interrupt, readiness)

    name = ServiceKind.ORCHESTRATOR
    return Service(name, name.value, settings.listen, settings, limiter, opened, settings.open_bearer_tokens)


async def _quotas_of(path: Path, manifest: Manifest, stack: AsyncExitStack) -> Callable[[], QuotaClasses]:
    """Return a function of the present quotas of a file, which is read again when it changes, until the stack closes.

    Raises `SettingsError` for a file that is missing or wrong.
    """
    file = ReloadedFile(path, lambda data: parse_quota_classes(data, path.name, manifest.signals), "quotas")
    await stack.enter_async_context(file)
    return lambda: file.current


def _certificates_for_workers(settings: OrchestratorServiceSettings, authorities: Path) -> ReloadedCertificates:
    """Return the certificates of connections to workers. Raises `SettingsError` for a wrong file."""
    certificate, key = settings.tls_worker_cert or settings.tls_cert, settings.tls_worker_key or settings.tls_key
    pair = PemPair(certificate, key) if certificate and key else None
    return ReloadedCertificates(TlsFiles(pair, authorities), "ca")


async def _wait_connected(workers: Workers) -> None:
    """Wait until all workers can be reached, but not for long, because some may start later."""
    every: tuple[Encoder | LanguageModel | Decoder, ...] = (
        workers.encoder,
        workers.language_model,
        *workers.decoders.values(),
    )
    with suppress(TimeoutError):
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            while not all(map(is_available, every)):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_INTERVAL)
