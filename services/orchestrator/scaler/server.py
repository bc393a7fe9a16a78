"""The listener of KEDA's external scaler."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from motet.transport.access.authentication import ANYONE, Authentication, PeerCertificates
from motet.transport.address import check_exposed
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.health_reporter import Readiness
from motet.transport.server import Server
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from orchestrator.pool.pool_calls import PoolCalls
from services.orchestrator.scaler.servicer import ScalerServicer
from services.orchestrator.settings import OrchestratorServiceSettings

logger = logging.getLogger(__name__)

MAX_OPEN_CALLS = 256
"""Maximum number of open calls, streams included. One connection may have half. KEDA has one stream for each pool."""


@asynccontextmanager
async def scaler_server(
    address: str,
    settings: OrchestratorServiceSettings,
    pools: Mapping[str, PoolCalls],
    limiter: ConcurrencyLimiter,
    readiness: Readiness,
) -> AsyncIterator[Server]:
    """Serve the demand of pools at an address. Callers authenticate by a certificate with the role `scaler`.

    `limiter` and `readiness` are those of the orchestrator's own listener, so both report the same health. Raises
    `SettingsError` for an address that cannot be used, and for one that is open to the network without encryption or
    authentication.
    """
    async with AsyncExitStack() as stack:
        certificates = _certificates_of(settings)
        if certificates is not None:
            await stack.enter_async_context(certificates)
        verified = certificates is not None and certificates.has_authorities
        if not settings.allow_insecure:
            remedy = "set --tls-cert, --tls-key and --scaler-client-ca"
            check_exposed(address, tls=certificates is not None, authenticated=verified, remedy=remedy)
        server = Server(
            [ScalerServicer(pools)],
            address=address,
            limiter=limiter,
            reflection=settings.reflection,
            credentials=None if certificates is None else certificates.server_credentials(),
            authentication=Authentication([PeerCertificates()]) if verified else ANYONE,
            allow_insecure=settings.allow_insecure,
            readiness=readiness,
            call_limits=replace(settings.call_limits, open_calls=min(MAX_OPEN_CALLS, settings.max_open_calls)),
        )
        await stack.enter_async_context(server)
        logger.info("the external scaler listens", extra={"address": server.address})
        yield server


def _certificates_of(settings: OrchestratorServiceSettings) -> ReloadedCertificates | None:
    """Return the certificates of the listener, or None without TLS. Raises `SettingsError` for a wrong file."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    authorities = settings.scaler_client_ca or settings.tls_client_ca
    return ReloadedCertificates(TlsFiles(PemPair(settings.tls_cert, settings.tls_key), authorities), "scaler_client_ca")
