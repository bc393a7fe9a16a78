"""The orchestrator service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from motet.transport.concurrency_limiter import ConcurrencyLimiter
from orchestrator.orchestrator import Orchestrator
from services.orchestrator.pools import pooled_workers
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer
from services.orchestrator.settings import OrchestratorServiceSettings, addresses_of
from services.orchestrator.uploads import Uploads
from services.serve import ReadyService, Service, factory_of
from services.settings import settings_of

_POLL_INTERVAL = 0.05
"""Seconds between two checks whether detached generations and watchers have ended."""


def orchestrator_service(options: dict[str, Any]) -> Service:
    """Return the service with settings from options and the environment. Raises `SettingsError`.

    Opening the service raises `SettingsError` for the address of a decoder whose modality the bundle does not have.
    """
    settings = settings_of(OrchestratorServiceSettings, options | {"decoders": addresses_of(options.get("decoders"))})

    limiter = ConcurrencyLimiter()

    @asynccontextmanager
    async def opened() -> AsyncIterator[ReadyService]:
        # The orchestrator reads only the manifest, so no weights are verified.
        factory = factory_of(settings, lambda manifest: ())
        async with AsyncExitStack() as stack:
            workers = await pooled_workers(settings, factory.manifest, stack)
            motet = await stack.enter_async_context(Orchestrator(workers, factory.manifest, factory.digest, settings))

            generations = GenerationServicer(motet, settings.heartbeat)

            async def finish() -> None:
                # Detached generations outlive their calls, and no event announces their end.
                while motet.running or generations.watchers:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_INTERVAL)

            uploads = Uploads(settings.upload_limits)
            stack.callback(asyncio.create_task(uploads.close_with(limiter)).cancel)
            artifacts, models = ArtifactServicer(motet, uploads), ModelServicer(motet)
            yield ReadyService([generations, artifacts, models], finish, motet.interrupt)

    return Service("orchestrator", settings.listen, settings, limiter, opened)
