"""The benchmark `tls`: the overhead of TLS and an API key, and certificates that change under streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from motet.client import Client
from motet.client.credentials import tls_credentials
from motet.core.clock import now
from motet.core.errors import MotetError
from motet.core.files.reloaded import RELOAD_INTERVAL
from motet.transport.access.key_file import add_record
from motet.transport.access.new_key import new_key
from motet.transport.server import freeze_garbage_collector
from services.benchmarks.load.scripted_toys import ToyTimings, scripted_prompt
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import alternating, median, percentile
from services.benchmarks.suite.orchestrator_overhead import generate, overheads_of, rate_of
from services.benchmarks.tracing.caller_variants import API_KEY, LOG_LINES, TOKEN, caller_variants
from services.benchmarks.tracing.deployment import RecordedDeployment, RecordedDeploymentConfig, recorded_deployment
from services.up.certificates import DeploymentCertificates

PLAIN, TLS = "plain text", "TLS"
"""The names of the two deployments."""

Samples = Mapping[str, list[float]]
"""The overhead of each plan per worker call in seconds, by candidate."""

_TOKENS, _TOKEN = 40, 0.1
"""Number of tokens of a stream, and seconds of each: streams run across changes."""

_MARGIN = 0.5
"""Seconds beyond `RELOAD_INTERVAL` until a new connection must get the new certificate."""


def measure(rounds: int, plans: int, concurrency: int, seconds: float, interval: float, smoke: bool) -> Report:
    """Measure rounds of `plans` plans over plain text and over TLS, then a load during changes of all certificates."""
    if smoke:
        rounds, plans, seconds = 2, 5, 5.0
    return asyncio.run(_measure(rounds, plans, concurrency, seconds, interval))


@dataclass(slots=True)
class Rotation:
    """Counts of a load during changes of all certificates."""

    changes: int = 0
    late: int = 0
    """Changes after which a new connection still got the old certificate."""
    completed: int = 0
    failures: list[str] = field(default_factory=list)
    """The reason of each failed call."""


async def _measure(rounds: int, plans: int, concurrency: int, seconds: float, interval: float) -> Report:
    freeze_garbage_collector()
    config = RecordedDeploymentConfig(timings=ToyTimings(steps=1), slots=64)
    modalities = config.manifest.independent
    text, calls = scripted_prompt(modalities, before=1, between=0, after=0), 1 + len(modalities)
    seeds = count()
    async with _plain(config) as plain, _secure(config) as (deployment, client, _):
        pairs = {PLAIN: plain, TLS: (deployment, client)}

        async def overheads_of_each(candidates: Mapping[str, tuple[RecordedDeployment, Client]]) -> Samples:
            found = await alternating(
                rounds,
                {name: partial(_overheads, *each, text, seeds, plans, calls) for name, each in candidates.items()},
                warmup=1,
            )
            return {name: list(chain.from_iterable(each)) for name, each in found.items()}

        overheads = await overheads_of_each(pairs)
        # Workers report their load to each orchestrator. So the variants, which share the workers, start later, and
        # have a baseline of their own.
        async with _variants(plain[0]) as variants:
            shared = await overheads_of_each({PLAIN: plain, **variants})
        # The last one, because nothing reads its spans.
        rates = await alternating(
            rounds,
            {name: partial(_rate, client, text, seeds, plans, concurrency) for name, (_, client) in pairs.items()},
            warmup=1,
        )
    rotation = await _rotate(concurrency, seconds, interval)
    return Report(
        "tls",
        {"rounds": rounds, "plans": plans, "concurrency": concurrency, "seconds": seconds, "interval": interval},
        figures_of(overheads, shared, rates, rotation),
        [
            f"A plan has {calls} worker calls, each to its own process. All connections use TLS, those to workers with "
            "certificates of both sides, and every call of the client has an API key. The baseline is the same "
            "deployment in plain text, in the same run. Both alternate. Then three more orchestrators share the "
            "workers of the plain deployment, and differ in one thing each: an API key, a JSON Web Token, or log lines "
            "of level info. They alternate with the first one, which is their baseline.",
            f"Certificates and keys of all services change every {interval:g} s under {concurrency} streams. Half of "
            "the callers keep a connection, the others open one for each call. A new connection must get the new "
            f"certificate within {RELOAD_INTERVAL + _MARGIN:g} s.",
        ],
        {
            "overhead_ms": _milliseconds(overheads),
            "overhead_of_shared_workers_ms": _milliseconds(shared),
            "plans_per_second": rates,
            "failures": rotation.failures,
        },
    )


def _milliseconds(overheads: Samples) -> dict[str, list[float]]:
    return {name: [round(one * 1e3, 4) for one in each] for name, each in overheads.items()}


def figures_of(
    overheads: Samples, shared: Samples, rates: Mapping[str, list[float]], rotation: Rotation
) -> list[Figure]:
    """Return the figures of the overheads in seconds, the rates in plans per second, and a rotation.

    `shared` are the overheads of orchestrators that share their workers.
    """
    plain, tls = (median(rates[name]) for name in (PLAIN, TLS))
    return [
        _overhead(overheads, 50, 1.15),
        _overhead(overheads, 99, None),
        *(_variant(shared, name) for name in (API_KEY, TOKEN, LOG_LINES)),
        Figure("plans per second over TLS with a key", tls, "1/s", Baseline(PLAIN, plain), at_least(0.87)),
        Figure("failed calls while all certificates change", len(rotation.failures), "", bar=at_most(0)),
        Figure("completed calls while all certificates change", rotation.completed, "", bar=at_least(1)),
        Figure("changes of all certificates", rotation.changes, "", bar=at_least(1)),
        Figure("changes that a new connection did not see in time", rotation.late, "", bar=at_most(0)),
    ]


def _overhead(samples: Samples, q: int, limit: float | None) -> Figure:
    tls, plain = (percentile(samples[name], q) * 1e3 for name in (TLS, PLAIN))
    bar = None if limit is None else at_most(limit)
    return Figure(f"overhead per worker call over TLS with a key, p{q}", tls, "ms", Baseline(PLAIN, plain), bar)


def _variant(samples: Samples, name: str) -> Figure:
    variant, plain = (percentile(samples[key], 50) * 1e3 for key in (name, PLAIN))
    return Figure(f"overhead per worker call, plain text, {name}, p50", variant, "ms", Baseline(PLAIN, plain))


async def _overheads(
    deployment: RecordedDeployment, client: Client, text: str, seeds: Iterator[int], plans: int, calls: int
) -> list[float]:
    return await overheads_of(partial(generate, client, text), deployment, list(islice(seeds, plans)), calls)


async def _rate(client: Client, text: str, seeds: Iterator[int], plans: int, concurrency: int) -> float:
    return await rate_of(partial(generate, client, text), islice(seeds, plans), plans, concurrency)


@dataclass(frozen=True, slots=True)
class _Access:
    """The certificates of a deployment, and the API key of its callers."""

    certificates: DeploymentCertificates
    api_key: str

    def connect(self, address: str) -> Client:
        credentials = tls_credentials(self.certificates.authority)
        return Client(address, credentials=credentials, api_key=self.api_key)


@asynccontextmanager
async def _plain(config: RecordedDeploymentConfig) -> AsyncIterator[tuple[RecordedDeployment, Client]]:
    """Yield a deployment in plain text, and its client."""
    async with recorded_deployment(config) as deployment, Client(deployment.orchestrator, api_key="") as client:
        yield deployment, client


@asynccontextmanager
async def _variants(plain: RecordedDeployment) -> AsyncIterator[Mapping[str, tuple[RecordedDeployment, Client]]]:
    with TemporaryDirectory(prefix="motet-bench-") as folder:
        async with caller_variants(plain, Path(folder)) as variants:
            yield variants


@asynccontextmanager
async def _secure(config: RecordedDeploymentConfig) -> AsyncIterator[tuple[RecordedDeployment, Client, _Access]]:
    """Yield a deployment with TLS and an API key, its client, and the access of more clients."""
    with TemporaryDirectory(prefix="motet-bench-") as folder:
        certificates, keys = DeploymentCertificates(Path(folder)), Path(folder) / "keys.jsonl"
        key, record = new_key(tenant="benchmark", roles=["generate", "read"], create_time=datetime.now(UTC))
        add_record(keys, record)
        access = _Access(certificates, key)
        async with (
            recorded_deployment(replace(config, certificates=certificates, keys=keys)) as deployment,
            access.connect(deployment.orchestrator) as client,
        ):
            yield deployment, client, access


async def _rotate(streams: int, seconds: float, interval: float) -> Rotation:
    """Replace the certificates of all services every `interval` seconds under a load of `streams` streams."""
    rotation, seeds = Rotation(), count()
    config = RecordedDeploymentConfig(timings=ToyTimings(token=_TOKEN, steps=1), slots=64)
    text = scripted_prompt(config.manifest.independent, before=_TOKENS, between=0, after=0)
    async with _secure(config) as (deployment, client, access):
        end = now() + seconds

        async def stream(reconnects: bool) -> None:
            while now() < end:
                try:
                    if reconnects:
                        async with access.connect(deployment.orchestrator) as own:
                            await generate(own, text, next(seeds))
                    else:
                        await generate(client, text, next(seeds))
                    rotation.completed += 1
                except (MotetError, AssertionError) as error:
                    rotation.failures.append(str(error))

        async def change() -> None:
            while now() + interval < end:
                before = await _certificate_at(deployment.orchestrator)
                access.certificates.replace()
                await asyncio.sleep(RELOAD_INTERVAL + _MARGIN)
                rotation.changes += 1
                rotation.late += await _certificate_at(deployment.orchestrator) == before
                await asyncio.sleep(max(0.0, interval - RELOAD_INTERVAL - _MARGIN))

        async with asyncio.TaskGroup() as group:
            for number in range(streams):
                group.create_task(stream(reconnects=number % 2 == 1))
            group.create_task(change())
    return rotation


async def _certificate_at(address: str) -> str:
    """Return the certificate that a new connection gets."""
    host, _, port = address.rpartition(":")
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
