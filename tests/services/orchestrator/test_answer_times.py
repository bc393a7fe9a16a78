"""The times of refusals over gRPC: from outside, a refused key and a foreign name look like unknown ones.

`TEST_TIMES=1500` measures that number of calls of each kind, in random order. By default, other tests compare the
functions that run.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from motet.client import Client
from motet.core.media import Media
from motet.transport.access.api_key import create_key
from motet.transport.channel import open_channel
from motet.transport.server import Server
from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import artifact_service_pb2_grpc as artifact_grpc
from motet.v1 import generation_service_pb2 as generation_pb
from motet.v1 import generation_service_pb2_grpc as generation_grpc
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of, script_of
from tests.transport.access.keys import KeyRing, bearer

CALLS = int(os.environ.get("TEST_TIMES", "0"))
UNKNOWN = "0" * 32
MAX_DIFFERENCE = 0.05
"""Maximum distance from one half of the probability that a call takes longer than one with an unknown key or name."""

Call = Callable[[], Awaitable[object]]


@pytest.mark.skipif(not CALLS, reason="TEST_TIMES is the number of calls of each kind to measure")
@pytest.mark.timeout(600)
async def test_refused_keys_and_foreign_names_take_the_time_of_unknown_ones() -> None:
    async with AsyncExitStack() as stack:
        keys = KeyRing()
        own, other, wrong = keys.key_of("acme"), keys.key_of("other"), keys.key_of("wrong")
        orchestrator = await stack.enter_async_context(orchestrator_of(script_of("text")))
        servicers: list[Any] = [GenerationServicer(orchestrator.for_caller), ArtifactServicer(orchestrator.for_caller)]
        server = await stack.enter_async_context(Server(servicers, authentication=keys.authentication()))
        client = await stack.enter_async_context(Client(server.address, metadata=dict(bearer(own))))
        await client.answer(request_of())
        generation = (await client.generations())[0][0].name
        artifact = (await client.upload(Media("x/a", b"a"))).name
        # The record of another key, so the secret is wrong.
        (record,) = (record for record in keys.records.values() if record.tenant == "wrong")
        keys.records[record.id] = record.model_copy(update={"sha256": "0" * 64})

        channel = await stack.enter_async_context(open_channel(server.address))
        generations = generation_grpc.GenerationServiceStub(channel)
        artifacts = artifact_grpc.ArtifactServiceStub(channel)

        def get(name: str, key: str) -> Call:
            request = generation_pb.GetGenerationRequest(name=name)
            return lambda: generations.GetGeneration(request, metadata=bearer(key))

        def download(name: str, key: str) -> Call:
            request = artifact_pb.DownloadArtifactRequest(name=name)
            return lambda: artifacts.DownloadArtifact(request, metadata=bearer(key)).read()

        for calls in (
            {
                "unknown": get(generation, create_key()),
                "wrong": get(generation, wrong),
                "revoked": get(generation, keys.revoked()),
                "expired": get(generation, keys.expired()),
            },
            {"unknown": get(f"generations/{UNKNOWN}", other), "foreign": get(generation, other)},
            {"unknown": download(f"artifacts/{UNKNOWN}", other), "foreign": download(artifact, other)},
        ):
            check_alike(await times_of(calls))


async def times_of(calls: Mapping[str, Call]) -> Mapping[str, list[float]]:
    """Return the seconds of each call, which all fail with one status."""
    order = [kind for kind in calls for _ in range(CALLS)]
    random.Random(7).shuffle(order)
    times: dict[str, list[float]] = {kind: [] for kind in calls}
    codes = set()
    for kind in order:
        started = time.perf_counter()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await calls[kind]()
        times[kind].append(time.perf_counter() - started)
        codes.add(failure.value.code())
    assert len(codes) == 1
    return times


def check_alike(times: Mapping[str, list[float]]) -> None:
    """Check that a call of one kind takes longer than an unknown one in about half of all pairs (Mann-Whitney)."""
    for kind, found in times.items():
        ranked = sorted([(seconds, False) for seconds in times["unknown"]] + [(seconds, True) for seconds in found])
        ranks = sum(rank for rank, (_, of_kind) in enumerate(ranked) if of_kind)
        longer = (ranks - CALLS * (CALLS - 1) / 2) / CALLS**2
        print(f"{kind}: {longer:.3f}")
        assert abs(longer - 0.5) < MAX_DIFFERENCE, kind
