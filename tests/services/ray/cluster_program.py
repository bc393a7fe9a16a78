"""A program that starts a real cluster of Ray with toy workers, and prints the outcome of each check as JSON.

It is a process of its own, because Ray needs the main thread, and reads its environment when it is imported.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from motet.core.deadline import Deadline
from motet.core.errors import MotetError
from motet.core.media import Media
from motet.core.workers import DecodeJob, Decoder, LanguageModel, Load, Prompt, TextPiece, Turn
from motet.toys.manifest import TOY
from motet.toys.workers import UNREADABLE, tensor_of
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteWorker
from motet.transport.ray.cluster import RayCluster
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.pools import pooled_workers
from services.ray.local_cluster import local_cluster
from services.ray.settings import RayWorker

TOYS: dict[str, Any] = {"num_cpus": 0, "options": {"toy": True, "toy_delay": 0.1}}
WORKERS = {
    "motet-encoder": RayWorker(kind="encoder", **TOYS),
    "motet-llm": RayWorker(kind="llm", min_replicas=2, max_replicas=2, **TOYS),
    "motet-image": RayWorker(kind="decoder", modality="image", max_running=3, **TOYS),
    "motet-audio": RayWorker(kind="decoder", modality="audio", min_replicas=0, **TOYS),
}
STEPS = 15


def deadline() -> Deadline:
    """Return a deadline that no call reaches."""
    return Deadline.after(120)


def prompt(number: int) -> Prompt:
    return Prompt((Turn("user", (f"prompt {number}",)),))


def job(seed: int, modality: str = "image") -> DecodeJob:
    return DecodeJob(modality, tensor_of(b"c", tuple(TOY.decoder_of(modality).conditioning)), seed, steps=STEPS)


def processes(application: str) -> Iterator[int]:
    """Yield the ids of the processes of an application's replicas."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes()
            except OSError:  # The process has ended.
                continue
            if title.startswith(f"ray::ServeReplica:{application}:".encode()):
                yield int(folder.name)


async def text_of(model: LanguageModel, number: int) -> str:
    pieces = [event async for event in model.generate(prompt(number), deadline())]
    return "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))


async def media_of(decoder: Decoder, seed: int, modality: str = "image") -> Media:
    *_, last = [event async for event in decoder.decode(job(seed, modality), deadline())]
    assert isinstance(last, Media)
    return last


async def load_of(worker: RemoteWorker) -> Load:
    async with aclosing(worker.watch_load()) as loads:  # type: ignore[type-var]
        async for load in loads:
            return load
    raise AssertionError("no load")


async def seconds_until_idle(worker: RemoteWorker) -> float:
    """Return the seconds until a replica runs no call."""
    started = time.monotonic()
    while (await load_of(worker)).running:
        await asyncio.sleep(0.05)
    return time.monotonic() - started


async def errors_keep_their_fields(cluster: RayCluster) -> Any:
    encoder = RemoteEncoder(cluster.channel_to("motet-encoder"))
    embedding, *_ = await encoder.encode([Media("", b"1")], deadline())
    try:
        await encoder.encode([Media("", b"1"), Media("", UNREADABLE)], deadline())
    except MotetError as error:
        return [len(embedding.shape), type(error).__name__, error.reason, error.metadata["index"]]


async def cancelling_stops_the_replica(cluster: RayCluster) -> Any:
    channel = cluster.channel_to("motet-image")
    async with aclosing(RemoteDecoder(channel).decode(job(1), deadline())) as events:  # type: ignore[type-var]
        await anext(events)
        running = (await load_of(RemoteWorker(channel))).running
    return [running, await seconds_until_idle(RemoteWorker(channel))]


async def a_deadline_stops_the_replica(cluster: RayCluster) -> Any:
    channel = cluster.channel_to("motet-image")
    try:
        async for _ in RemoteDecoder(channel).decode(job(2), Deadline.after(0.4)):
            pass
    except MotetError as error:
        return [error.reason, await seconds_until_idle(RemoteWorker(channel))]


async def slots_are_those_of_all_replicas(cluster: RayCluster) -> Any:
    slots = {}
    for application in ("motet-llm", "motet-image", "motet-audio"):
        async with aclosing(cluster.watch_load(application)) as loads:  # type: ignore[type-var]
            slots[application] = (await anext(loads)).slots
    return slots


async def killed_replicas_lose_no_call(cluster: RayCluster) -> Any:
    addresses = {modality: f"ray:motet-{modality}" for modality in ("image", "audio")}
    settings = OrchestratorSettings(encoder="ray:motet-encoder", language_model="ray:motet-llm", decoders=addresses)
    async with AsyncExitStack() as stack:
        workers = await pooled_workers(settings, TOY, stack)
        model, decoder = workers.language_model, workers.decoders["image"]
        texts = asyncio.gather(*(text_of(model, number) for number in range(8)))
        media = asyncio.gather(*(media_of(decoder, seed) for seed in range(3)))
        await asyncio.sleep(0.7)
        killed = [next(processes("motet-llm")), *processes("motet-image")]
        for process in killed:
            os.kill(process, signal.SIGKILL)
        expected_texts = [await text_of(model, number) for number in range(8)]
        return [
            len(killed),
            await texts == expected_texts and all(expected_texts),
            [each.data.hex() for each in await media]
            == [(await media_of(decoder, seed)).data.hex() for seed in range(3)],
        ]


async def the_first_call_starts_a_replica(cluster: RayCluster) -> Any:
    before = len(list(processes("motet-audio")))
    await media_of(RemoteDecoder(cluster.channel_to("motet-audio")), 1, "audio")
    return [before, len(list(processes("motet-audio")))]


async def calls_without_the_token_are_refused(cluster: RayCluster) -> Any:
    """Call the ports of the replicas that are open to the network, and the one of the cluster. Return the codes."""
    from tests.services.test_listeners import listeners

    ports = [address for address in listeners(set(processes("motet-llm"))) if address.startswith("::")]
    methods = {port.rpartition(":")[2]: "/ray.serve.ASGIService/HandleRequest" for port in ports}
    methods[os.environ["RAY_ADDRESS"].rpartition(":")[2]] = "/ray.rpc.JobInfoGcsService/GetAllJobInfo"
    codes = []
    for port, method in methods.items():
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                await channel.unary_unary(method)(b"", timeout=20)
            except grpc.aio.AioRpcError as error:
                codes.append(error.code().name)
    return codes


async def a_replica_that_stops_finishes_its_calls(cluster: RayCluster) -> Any:
    from ray import serve

    decoder = RemoteDecoder(cluster.channel_to("motet-image"))
    events = []

    async def run() -> None:
        async for event in decoder.decode(job(3), deadline()):
            events.append(event)

    running = asyncio.create_task(run())
    while not events:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(serve.delete, "motet-image")
    await running
    return isinstance(events[-1], Media)


async def an_application_that_is_away_is_unavailable(cluster: RayCluster) -> Any:
    """Watch the application that the check before has deleted."""
    try:
        async with aclosing(cluster.watch_load("motet-image")) as loads:  # type: ignore[type-var]
            async for _ in loads:
                await asyncio.sleep(0)
    except MotetError as error:
        return error.reason


async def errors_of_ray_have_reasons(cluster: RayCluster) -> Any:
    from ray.exceptions import ActorDiedError, RaySystemError, TaskUnschedulableError
    from ray.serve.exceptions import BackPressureError

    from motet.transport.ray.errors import error_of_ray

    errors = [ActorDiedError(), TaskUnschedulableError("x"), BackPressureError(1, 1), RaySystemError("secret")]
    reasons = [error_of_ray(error, "a", received=True) for error in errors]
    return [[error.reason for error in reasons], any("secret" in error.message for error in reasons)]


CHECKS = (
    errors_keep_their_fields,
    slots_are_those_of_all_replicas,
    cancelling_stops_the_replica,
    a_deadline_stops_the_replica,
    killed_replicas_lose_no_call,
    the_first_call_starts_a_replica,
    calls_without_the_token_are_refused,
    errors_of_ray_have_reasons,
    a_replica_that_stops_finishes_its_calls,
    an_application_that_is_away_is_unavailable,
)


async def outcomes() -> AsyncIterator[tuple[str, Any]]:
    async with RayCluster(list(WORKERS)) as cluster:
        for check in CHECKS:
            started = time.monotonic()
            try:
                outcome = await check(cluster)
            except Exception as error:
                outcome = repr(error)
            print(f"{check.__name__}: {outcome} in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
            yield check.__name__, outcome


async def main() -> None:
    print(json.dumps({name: outcome async for name, outcome in outcomes()}), flush=True)


if __name__ == "__main__":
    with local_cluster(lambda gpus: WORKERS):
        asyncio.run(main())
