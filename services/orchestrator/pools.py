"""Pools over the workers of other processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc.aio

from motet.core.bundle import Manifest
from motet.core.errors import SettingsError
from motet.core.files.field_errors import nearest_name
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.workers import Encoder, LanguageModel, Workers
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel, RemoteWorker
from motet.transport.ray.address import application_of, is_in_ray
from motet.transport.ray.cluster import RayCluster
from motet.transport.tls.channel import ReloadingChannel
from motet.transport.tls.reload import ReloadedCertificates
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledDecoder, PooledEncoder, PooledLanguageModel
from orchestrator.settings import Addresses, OrchestratorSettings
from services.orchestrator.discovery.addresses import endpoint_or_source
from services.orchestrator.discovery.discovery import Discovery
from services.orchestrator.discovery.endpoint import Endpoint, EndpointSource
from services.orchestrator.discovery.service_account import POD_ACCOUNT, ServiceAccount

Worker = TypeVar("Worker")

_INITIAL_ESTIMATE = 0.1
"""Seconds that a denoising step, or the encoding of a piece of media, is assumed to take until one was measured."""


@dataclass(frozen=True, slots=True)
class PooledWorkers(Workers):
    """Workers that are pools. `pools` has each of them by the name that messages and metrics have."""

    pools: Mapping[str, Pool[Any]]


async def pooled_workers(
    settings: OrchestratorSettings,
    manifest: Manifest,
    stack: AsyncExitStack,
    certificates: ReloadedCertificates | None = None,
    account: ServiceAccount = POD_ACCOUNT,
    bundle_digest: str = "",
) -> PooledWorkers:
    """Return pools over the workers at the settings' addresses. They are closed with the stack.

    The replicas of an address with a scheme, dns or kubernetes, join and leave their pool while it
    serves. `account` is for the API server of Kubernetes. A replica that reports another `bundle_digest` gets no calls,
    because its embeddings and signals have another meaning; "" allows every bundle.

    With certificates, connections use TLS. Raises `SettingsError` for an invalid address, and for a decoder of a
    modality that the manifest does not have.
    """
    if unknown := settings.decoders.keys() - manifest.signals.keys():
        nearest = nearest_name(name := min(unknown), manifest.signals)
        raise SettingsError(
            f"{manifest.name} does not generate {name}: the nearest modality is {nearest}; correct --decoder"
        )

    def channel_to(endpoint: Endpoint) -> grpc.aio.Channel:
        open_with = partial(open_channel, endpoint.address, health="", retries=False, server_name=endpoint.server_name)
        return open_with() if certificates is None else ReloadingChannel(certificates, open_with)

    pools: dict[str, Pool[Any]] = {}
    ray = await stack.enter_async_context(RayCluster(_applications_of(settings)))

    async def pool(
        name: str, client: Callable[[grpc.aio.Channel], Worker], addresses: Addresses, estimate: float
    ) -> Pool[Worker]:
        def connect(endpoint: Endpoint) -> Member[Worker]:
            if is_in_ray(endpoint.address):
                return _member_in_ray(ray, endpoint.address, client, bundle_digest)
            channel = channel_to(endpoint)
            loads = RemoteWorker(channel).watch_load
            return Member(client(channel), loads, endpoint.address, channel.close, bundle_digest)

        async def update(endpoints: Sequence[Endpoint]) -> None:
            by_address = {endpoint.address: endpoint for endpoint in endpoints}
            await opened.set_members(by_address, lambda address: connect(by_address[address]))

        fixed, sources = _endpoints_and_sources(addresses, settings.dns_interval, account)
        members = [connect(endpoint) for endpoint in fixed]
        opened = await stack.enter_async_context(Pool(name, members, settings, initial_estimate=estimate))
        pools[name] = opened
        if sources:
            await stack.enter_async_context(Discovery(fixed, sources, update))
        return opened

    encoders: Pool[Encoder] = await pool(ServiceKind.ENCODER, RemoteEncoder, settings.encoder, _INITIAL_ESTIMATE)
    language_models: Pool[LanguageModel] = await pool(
        ServiceKind.LANGUAGE_MODEL, RemoteLanguageModel, settings.language_model, 1.0
    )
    decoder = partial(RemoteDecoder, max_bytes=settings.max_media_bytes)
    decoders = {
        modality: PooledDecoder(
            await pool(modality, decoder, addresses, _INITIAL_ESTIMATE), manifest.decoder_of(modality).steps
        )
        for modality, addresses in settings.decoders.items()
    }
    return PooledWorkers(PooledEncoder(encoders), PooledLanguageModel(language_models), decoders, pools)


def _applications_of(settings: OrchestratorSettings) -> list[str]:
    """Return the applications of Ray among the addresses of all workers. Raises `SettingsError` for a wrong address."""
    pools = (settings.encoder, settings.language_model, *settings.decoders.values())
    addresses = [address for pool in pools for address in ((pool,) if isinstance(pool, str) else pool)]
    return [application_of(address) for address in addresses if is_in_ray(address)]


def _member_in_ray(
    ray: RayCluster, address: str, client: Callable[[grpc.aio.Channel], Worker], bundle_digest: str
) -> Member[Worker]:
    """Return the member for all replicas of an application of Ray."""
    application = application_of(address)
    worker, loads = client(ray.channel_to(application)), partial(ray.watch_load, application)
    return Member(worker, loads, address, bundle_digest=bundle_digest, balanced=True)


def _endpoints_and_sources(
    addresses: Addresses, dns_interval: float, account: ServiceAccount
) -> tuple[list[Endpoint], list[EndpointSource]]:
    """Return the endpoints that do not change, and the sources of the others. Raises `SettingsError`."""
    # An address that is listed twice is one replica.
    listed = dict.fromkeys((addresses,) if isinstance(addresses, str) else addresses)
    found = [endpoint_or_source(address, dns_interval, account) for address in listed]
    fixed = [each for each in found if isinstance(each, Endpoint)]
    return fixed, [each for each in found if not isinstance(each, Endpoint)]
