"""The orchestrator service, put together."""

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
from services.serve import Opened, Service, factory_of
from services.settings import settings_of

_LOOK = 0.05
"""Seconds between two looks at whether detached generations are over."""


def orchestrator_service(given: dict[str, Any]) -> Service:
    """The service, from the environment and what was given. Raises `SettingsError`.

    Opening raises `SettingsError` when a decoder's address is given for a modality that the bundle does not make.
    """
    settings = settings_of(OrchestratorServiceSettings, given | {"decoders": addresses_of(given.get("decoders"))})

    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened]:
        # It opens no weights, so it verifies none; the manifest says what the workers can do.
        factory = factory_of(settings, lambda manifest: ())
        async with AsyncExitStack() as stack:
            workers = await pooled_workers(settings, factory.manifest, stack)
            motet = await stack.enter_async_context(Orchestrator(workers, factory.manifest, factory.digest, settings))

            async def finish() -> None:
                # Detached generations outlive their calls, and tell nobody when they are over.
                while motet.running:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK)

            generations = GenerationServicer(motet, settings.heartbeat)
            yield Opened([generations, ArtifactServicer(motet), ModelServicer(motet)], finish)

    return Service("orchestrator", settings.listen, settings, ConcurrencyLimiter(), opened)
