"""The benchmark `ray`: the cost of a call to a worker in Ray Serve, beside the same call over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder
from motet.toys.manifest import TOY
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.ray.cluster import RayCluster
from services.benchmarks.reports.report import Baseline, Figure, Report
from services.benchmarks.reports.statistics import alternating, median, percentile
from services.child_process import ChildProcess
from services.ray.local_cluster import local_cluster
from services.ray.settings import RayWorker

_APPLICATION = "motet-hop"
_MODALITY = "image"
_SLOTS = 64
_TIMEOUT = 60.0
"""Maximum duration of a call, in seconds."""


def measure(rounds: int, calls: int, concurrency: int, smoke: bool) -> Report:
    """Measure rounds of calls to an instant decoder in another process, over gRPC and by Ray Serve."""
    if smoke:
        rounds, calls = 1, 5
    worker = RayWorker.model_validate(
        {
            "kind": "decoder",
            "modality": _MODALITY,
            "max_running": _SLOTS,
            "num_cpus": 0,
            "options": {"toy": True},
        }
    )
    with local_cluster(lambda gpus: {_APPLICATION: worker}):
        return asyncio.run(_measure(rounds, calls, concurrency))


async def _measure(rounds: int, calls: int, concurrency: int) -> Report:
    async with _over_grpc() as direct, RayCluster([_APPLICATION]) as cluster:
        decoders: dict[str, Decoder] = {"gRPC": direct, "Ray": RemoteDecoder(cluster.channel_to(_APPLICATION))}
        latencies = await alternating(
            rounds, {name: partial(_latencies, decoder, calls) for name, decoder in decoders.items()}, warmup=1
        )
        rates = await alternating(
            rounds, {name: partial(_rate, decoder, calls, concurrency) for name, decoder in decoders.items()}, warmup=1
        )
    samples = {name: list(chain.from_iterable(each)) for name, each in latencies.items()}
    return Report(
        "ray",
        {"rounds": rounds, "calls": calls, "concurrency": concurrency},
        figures_of(samples, rates, concurrency),
        [
            "A call is one job of one denoising step at a toy decoder, which takes no time: a request, a progress "
            "event and the media. Both decoders have one replica in a process of its own. The candidates alternate.",
        ],
        {
            "latency_ms": {name: [round(one * 1e3, 4) for one in each] for name, each in samples.items()},
            "calls_per_second": rates,
        },
    )


def figures_of(
    latencies: Mapping[str, Sequence[float]], rates: Mapping[str, Sequence[float]], concurrency: int
) -> list[Figure]:
    """Return the figures of latencies in seconds, and of rates in calls per second."""
    direct, ray = ([latency * 1e3 for latency in latencies[name]] for name in ("gRPC", "Ray"))
    return [
        Figure("one call, p50", percentile(ray, 50), "ms", Baseline("gRPC", percentile(direct, 50))),
        Figure("one call, p99", percentile(ray, 99), "ms", Baseline("gRPC", percentile(direct, 99))),
        Figure(
            f"calls per second, {concurrency} at a time",
            median(rates["Ray"]),
            "1/s",
            Baseline("gRPC", median(rates["gRPC"])),
        ),
    ]


@asynccontextmanager
async def _over_grpc() -> AsyncIterator[Decoder]:
    """Yield the decoder of a service in a child process."""
    arguments = ("decoder", "--modality", _MODALITY, "--toy", "--listen", "127.0.0.1:0", "--max-running", str(_SLOTS))
    child = await ChildProcess.start("decoder", arguments, "warning")
    try:
        ready = await child.wait_ready()
        async with open_channel(ready.address, retries=False) as channel:
            yield RemoteDecoder(channel)
    finally:
        await child.kill()


def _job(seed: int) -> DecodeJob:
    shape = tuple(TOY.decoder_of(_MODALITY).conditioning)
    size = 4
    for length in shape:
        size *= length
    return DecodeJob(_MODALITY, Tensor("float32", shape, bytes(size)), seed, steps=1)


async def _call(decoder: Decoder, seed: int) -> None:
    async for _ in decoder.decode(_job(seed), Deadline.after(_TIMEOUT)):
        pass


async def _latencies(decoder: Decoder, calls: int) -> list[float]:
    """Return the durations of calls, one after another, in seconds."""
    durations = []
    for seed in range(calls):
        started = now()
        await _call(decoder, seed)
        durations.append(now() - started)
    return durations


async def _rate(decoder: Decoder, calls: int, concurrency: int) -> float:
    """Return the calls per second of callers that each do one call after another."""

    async def caller(number: int) -> None:
        for seed in range(calls // concurrency + 1):
            await _call(decoder, number * calls + seed)

    started = now()
    await asyncio.gather(*map(caller, range(concurrency)))
    return concurrency * (calls // concurrency + 1) / (now() - started)
