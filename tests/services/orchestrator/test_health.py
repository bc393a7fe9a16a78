"""The health of the orchestrator, and its models: they tell what can be served now."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.client import Client
from motet.core.request import GenerationRequest, Message
from motet.core.service import Model
from motet.toys.manifest import TOY
from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.channel import open_channel
from motet.transport.health_reporter import LIVENESS
from motet.transport.server import Server
from services.orchestrator.service import orchestrator_service
from services.up.restarts import RestartPolicy
from services.up.supervised_process import SupervisedProcess
from tests.transport.serving import served

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GENERATION = "motet.v1.GenerationService"
ALWAYS = {LIVENESS, "motet.v1.ArtifactService", "motet.v1.ModelService", "motet.v1.QuotaService"}
"""The names that need no worker."""
MODALITIES = {
    *(f"motet.v1/{modality}" for modality in ("text", *TOY.signals)),
    *(f"motet.v1/input/{modality}" for modality in TOY.encoder.modalities),
}
ALL = {"", GENERATION, *MODALITIES, *ALWAYS}
HELLO = GenerationRequest((Message("user", ("hello",)),), allowed_modalities=frozenset({"text"}))


async def status_of(channel: grpc.aio.Channel, name: str) -> int:
    response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(response.status)


async def serving_of(channel: grpc.aio.Channel) -> set[str]:
    """Return the names whose health is SERVING. Each name must be known."""
    statuses = {name: await status_of(channel, name) for name in ALL}
    assert set(statuses.values()) <= {SERVING, NOT_SERVING}
    return {name for name, status in statuses.items() if status == SERVING}


@asynccontextmanager
async def orchestrated(addresses: Mapping[str, str]) -> AsyncIterator[Server]:
    """Serve an orchestrator of workers at these addresses. A worker's return is reported at once."""
    options = {
        "toy": True,
        "encoder": addresses["encoder"],
        "language_model": addresses["language_model"],
        "decoders": [f"{modality}={addresses[modality]}" for modality in TOY.signals if modality in addresses],
    }
    async with (
        orchestrator_service(options).open() as opened,
        Server(opened.servicers, readiness=opened.readiness, min_outage=0) as server,
    ):
        yield server


async def model_of(client: Client) -> Model:
    (model,) = await client.models()
    return model


def complete(model: Model) -> bool:
    """Return whether all workers of a model are available."""
    return model.available and model.input_available and all(output.available for output in model.outputs)


async def wait_for_status(channel: grpc.aio.Channel, name: str, status: int) -> None:
    """Wait until a service has a health status."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))
    async for response in watch:
        if response.status == status:
            break
    watch.cancel()


@pytest.mark.parametrize("lost", ["language_model", "image", "encoder"])
async def test_health_and_models_tell_which_workers_are_away_and_when_they_are_back(lost: str) -> None:
    modalities = list(TOY.signals)
    workers = {"encoder": ToyEncoder(), "language_model": ToyLanguageModel(TOY.grammar)}
    workers |= {modality: ToyDecoder(modality) for modality in modalities}  # type: ignore[misc]
    async with AsyncExitStack() as stack:
        addresses = {}
        for name, worker in workers.items():
            own = await stack.enter_async_context(AsyncExitStack())
            server, _ = await own.enter_async_context(served(worker))
            addresses[name] = server.address
            if name == lost:
                dying = own
        server = await stack.enter_async_context(orchestrated(addresses))
        channel = await stack.enter_async_context(open_channel(server.address))
        client = await stack.enter_async_context(Client(server.address))
        assert await serving_of(channel) == ALL
        assert (await model_of(client)).available

        await dying.aclose()
        unavailable = {
            "language_model": ALL - ALWAYS,
            "image": {"motet.v1/image"},
            "encoder": {f"motet.v1/input/{modality}" for modality in TOY.encoder.modalities},
        }[lost]
        for name in sorted(unavailable):
            await wait_for_status(channel, name, NOT_SERVING)
        assert await serving_of(channel) == ALL - unavailable
        while complete(model := await model_of(client)):
            pass
        assert model.available is (lost != "language_model")
        assert model.input_available is (lost != "encoder")
        assert [output.available for output in model.outputs] == [output.modality != lost for output in model.outputs]

        back = served(workers[lost], address=addresses[lost])
        await stack.enter_async_context(back)
        for name in sorted(unavailable):
            await wait_for_status(channel, name, SERVING)
        assert await serving_of(channel) == ALL
        while not complete(await model_of(client)):
            pass
        assert (await client.answer(HELLO)).text


async def test_an_orchestrator_without_workers_is_live_and_serves_nothing_until_they_come() -> None:
    async with AsyncExitStack() as stack:
        addresses = {"encoder": "", "language_model": "", "image": ""}
        for name in addresses:
            async with served(ToyEncoder()) as (server, _):
                addresses[name] = server.address
        server = await stack.enter_async_context(orchestrated(addresses))
        channel = await stack.enter_async_context(open_channel(server.address))
        assert await serving_of(channel) == ALWAYS

        worker = served(ToyLanguageModel(TOY.grammar), address=addresses["language_model"])
        await stack.enter_async_context(worker)
        for name in ("", GENERATION, "motet.v1/text"):
            await wait_for_status(channel, name, SERVING)
        # There is no decoder, and the deployment has only one of the manifest's modalities.
        assert await serving_of(channel) == {*ALWAYS, "", GENERATION, "motet.v1/text"}

        await stack.enter_async_context(served(ToyDecoder("image"), address=addresses["image"]))
        await wait_for_status(channel, "motet.v1/image", SERVING)
        assert await serving_of(channel) == {*ALWAYS, "", GENERATION, "motet.v1/text", "motet.v1/image"}


async def test_a_killed_language_model_ends_the_health_and_its_restart_brings_it_back() -> None:
    arguments = ["llm", "--toy", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
    process = await SupervisedProcess.start("language model", arguments, "error", RestartPolicy(min_delay=0.05))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.kill)
        encoder, _ = await stack.enter_async_context(served(ToyEncoder()))
        address = (await process.wait_ready()).address
        server = await stack.enter_async_context(orchestrated({"encoder": encoder.address, "language_model": address}))
        channel = await stack.enter_async_context(open_channel(server.address))
        client = await stack.enter_async_context(Client(server.address))
        assert await status_of(channel, "") == SERVING
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING

        os.kill(process.pid, signal.SIGKILL)
        assert (await watch.read()).status == NOT_SERVING
        assert await status_of(channel, LIVENESS) == SERVING
        supervision = asyncio.create_task(process.supervise())
        stack.callback(supervision.cancel)
        assert (await watch.read()).status == SERVING
        watch.cancel()
        assert (await client.answer(HELLO)).text


async def test_a_server_whose_readiness_changes_reports_it_until_it_drains() -> None:
    ready = {"": True, "x": False}
    async with Server([], readiness=lambda: ready) as server, open_channel(server.address) as channel:
        assert [await status_of(channel, name) for name in ("", "x")] == [SERVING, NOT_SERVING]
        ready["x"] = True
        await wait_for_status(channel, "x", SERVING)
        await server.drain(0.1)
        assert [await status_of(channel, name) for name in ("", "x")] == [NOT_SERVING, NOT_SERVING]
