"""The workers of other processes, any number of each, as the orchestrator's workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import grpc.aio

from motet.core.bundle import Manifest
from motet.core.errors import SettingsError
from motet.core.workers import Workers
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel, RemoteWorker
from orchestrator.pool.pool import Member, Pool
from orchestrator.pool.workers import PooledDecoder, PooledEncoder, PooledLanguageModel
from orchestrator.settings import Addresses, OrchestratorSettings

Worker = TypeVar("Worker")

_STEP = 0.1
"""Seconds that a denoising step, or a piece of media to encode, is taken to need until one was seen."""


async def pooled_workers(settings: OrchestratorSettings, manifest: Manifest, stack: AsyncExitStack) -> Workers:
    """Workers at the settings' addresses, until the stack is closed.

    Raises `SettingsError` for what is no address, and for a decoder of what the manifest does not make.
    """
    if unknown := settings.decoders.keys() - manifest.signals.keys():
        raise SettingsError(f"{manifest.name} does not make {', '.join(sorted(unknown))}")

    async def pool(
        name: str, client: Callable[[grpc.aio.Channel], Worker], at: Addresses, guess: float
    ) -> Pool[Worker]:
        members = []
        for address in (at,) if isinstance(at, str) else at:
            channel = await stack.enter_async_context(open_channel(address, health=""))
            members.append(Member(client(channel), RemoteWorker(channel).watch_load))
        return await stack.enter_async_context(Pool(name, members, settings, guess=guess))

    return Workers(
        PooledEncoder(await pool("encoder", RemoteEncoder, settings.encoder, _STEP)),
        PooledLanguageModel(await pool("language model", RemoteLanguageModel, settings.language_model, 1.0)),
        {
            modality: PooledDecoder(await pool(modality, RemoteDecoder, at, _STEP), manifest.decoder_of(modality).steps)
            for modality, at in settings.decoders.items()
        },
    )
