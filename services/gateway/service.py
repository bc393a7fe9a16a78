"""The orchestrator service, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from motet.core.errors import SettingsError
from motet.core.workers import Workers
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel
from motet.transport.gate import Gate
from orchestrator.orchestrator import Orchestrator
from orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer
from services.gateway.settings import GatewaySettings, addresses_of
from services.serve import Opened, Service, factory_of
from services.settings import settings_of

_LOOK = 0.05
"""Seconds between two looks at whether detached generations are over."""


def orchestrator_service(given: dict[str, Any]) -> Service:
    """The service, from the environment and what was given. Raises `SettingsError`.

    Opening raises `SettingsError` when a decoder's address is given for a modality that the bundle does not make.
    """
    settings = settings_of(GatewaySettings, given | {"decoders": addresses_of(given.get("decoders"))})

    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened]:
        # It opens no weights, so it verifies none; the manifest says what the workers can do.
        factory = factory_of(settings, lambda manifest: ())
        async with AsyncExitStack() as stack:
            workers = await _workers(settings, stack)
            if unknown := workers.decoders.keys() - factory.manifest.signals.keys():
                raise SettingsError(f"{factory.manifest.name} does not make {', '.join(sorted(unknown))}")
            motet = await stack.enter_async_context(Orchestrator(workers, factory.manifest, factory.digest, settings))

            async def finish() -> None:
                # Detached generations outlive their calls, and tell nobody when they are over.
                while motet.running:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK)

            generations = GenerationServicer(motet, settings.heartbeat)
            yield Opened([generations, ArtifactServicer(motet), ModelServicer(motet)], finish)

    return Service("orchestrator", settings.listen, settings, Gate(), opened)


async def _workers(settings: GatewaySettings, stack: AsyncExitStack) -> Workers:
    channels = {
        address: await stack.enter_async_context(open_channel(address, health=""))
        for address in (settings.encoder, settings.language_model, *settings.decoders.values())
    }
    return Workers(
        RemoteEncoder(channels[settings.encoder]),
        RemoteLanguageModel(channels[settings.language_model]),
        {modality: RemoteDecoder(channels[address]) for modality, address in settings.decoders.items()},
    )
