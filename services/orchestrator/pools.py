"""Pools over the workers of other processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

import grpc.aio

from motet.core.bundle import Manifest
from motet.core.errors import SettingsError
from motet.core.workers import Encoder, LanguageModel, Workers
from motet.transport.channel import checked_address, open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel, RemoteWorker
from motet.transport.tls.channel import ReloadingChannel
from motet.transport.tls.reload import ReloadedCertificates
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledDecoder, PooledEncoder, PooledLanguageModel
from orchestrator.settings import Addresses, OrchestratorSettings

Worker = TypeVar("Worker")

_INITIAL_ESTIMATE = 0.1
"""Seconds that a denoising step, or the encoding of a piece of media, is assumed to take until one was measured."""


async def pooled_workers(
    settings: OrchestratorSettings,
    manifest: Manifest,
    stack: AsyncExitStack,
    certificates: ReloadedCertificates | None = None,
) -> Workers:
    """Return pools over the workers at the settings' addresses. They are closed with the stack.

    With certificates, connections use TLS. Raises `SettingsError` for an invalid address, and for a decoder of a
    modality that the manifest does not have.
    """
    if unknown := settings.decoders.keys() - manifest.signals.keys():
        raise SettingsError(f"{manifest.name} does not generate {', '.join(sorted(unknown))}")

    open_plain = partial(open_channel, health="", retries=False)

    def channel_to(address: str) -> grpc.aio.Channel:
        if certificates is None:
            return open_plain(address)
        return ReloadingChannel(certificates, partial(open_plain, address))

    async def pool(
        name: str, client: Callable[[grpc.aio.Channel], Worker], addresses: Addresses, estimate: float
    ) -> Pool[Worker]:
        def connect(address: str) -> Member[Worker]:
            channel = channel_to(address)
            return Member(client(channel), RemoteWorker(channel).watch_load, address, channel.close)

        # An address that is listed twice is one replica.
        replicas = dict.fromkeys((addresses,) if isinstance(addresses, str) else addresses)
        members = [connect(address) for address in [checked_address(each) for each in replicas]]
        return await stack.enter_async_context(Pool(name, members, settings, initial_estimate=estimate))

    encoders: Pool[Encoder] = await pool("encoder", RemoteEncoder, settings.encoder, _INITIAL_ESTIMATE)
    language_models: Pool[LanguageModel] = await pool(
        "language model", RemoteLanguageModel, settings.language_model, 1.0
    )
    decoder = partial(RemoteDecoder, max_bytes=settings.max_media_bytes)
    decoders = {
        modality: PooledDecoder(
            await pool(modality, decoder, addresses, _INITIAL_ESTIMATE), manifest.decoder_of(modality).steps
        )
        for modality, addresses in settings.decoders.items()
    }
    return Workers(PooledEncoder(encoders), PooledLanguageModel(language_models), decoders)
