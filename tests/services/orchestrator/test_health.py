"""The health of the orchestrator, and its models: they tell what can be served now."""

from __future__ import annotations

from contextlib import AsyncExitStack

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.client import Client
from motet.core.request import GenerationRequest, Message
from motet.core.service import Model
from motet.toys.manifest import TOY
from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.channel import open_channel
from motet.transport.server import Server
from services.orchestrator.service import orchestrator_service
from tests.transport.serving import served

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
GENERATION = "motet.v1.GenerationService"
HELLO = GenerationRequest((Message("user", ("hello",)),), allowed_modalities=frozenset({"text"}))


async def status_of(channel: grpc.aio.Channel, name: str) -> int:
    response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(response.status)


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
        options = {
            "toy": True,
            "encoder": addresses["encoder"],
            "language_model": addresses["language_model"],
            "decoders": [f"{modality}={addresses[modality]}" for modality in modalities],
        }
        opened = await stack.enter_async_context(orchestrator_service(options).open())
        server = await stack.enter_async_context(Server(opened.servicers, readiness=opened.readiness))
        channel = await stack.enter_async_context(open_channel(server.address))
        client = await stack.enter_async_context(Client(server.address))
        names = ["", GENERATION, *(f"{GENERATION}/{modality}" for modality in modalities)]
        assert [await status_of(channel, name) for name in names] == [SERVING] * len(names)
        assert (await model_of(client)).available

        await dying.aclose()
        # A lost encoder makes no service unhealthy, because requests without media need none.
        name = {"language_model": "", "image": f"{GENERATION}/image"}.get(lost)
        if name is not None:
            await wait_for_status(channel, name, NOT_SERVING)
        unavailable = {"language_model": set(names[:2]), "image": {f"{GENERATION}/image"}, "encoder": set()}[lost]
        assert {name for name in names if await status_of(channel, name) == NOT_SERVING} == unavailable
        assert await status_of(channel, "motet.v1.ModelService") == SERVING
        while complete(model := await model_of(client)):
            pass
        assert model.available is (lost != "language_model")
        assert model.input_available is (lost != "encoder")
        assert [output.available for output in model.outputs] == [output.modality != lost for output in model.outputs]

        back = served(workers[lost], address=addresses[lost])
        await stack.enter_async_context(back)
        if name is not None:
            await wait_for_status(channel, name, SERVING)
        while not complete(await model_of(client)):
            pass
        assert (await client.answer(HELLO)).text


async def test_a_server_whose_readiness_changes_reports_it_until_it_drains() -> None:
    ready = {"": True, "x": False}
    async with Server([], readiness=lambda: ready) as server, open_channel(server.address) as channel:
        assert [await status_of(channel, name) for name in ("", "x")] == [SERVING, NOT_SERVING]
        ready["x"] = True
        await wait_for_status(channel, "x", SERVING)
        await server.drain(0.1)
        assert [await status_of(channel, name) for name in ("", "x")] == [NOT_SERVING, NOT_SERVING]
