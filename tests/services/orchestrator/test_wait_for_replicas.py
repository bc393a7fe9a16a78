"""Requests to a real orchestrator whose workers are scaled to zero: they wait for a worker, or fail with a delay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import TemporaryDirectory

import pytest
from prometheus_client import REGISTRY

from motet.answers.answer import MediaPart
from motet.client import Client
from motet.core.errors import OverloadedError, Reason
from motet.core.events import PartFailed
from motet.core.request import GenerationRequest, Message
from motet.toys.manifest import TOY
from motet.toys.workers import ToyDecoder, ToyLanguageModel
from motet.transport.channel import open_channel
from motet.transport.server import Server
from services.orchestrator.service import orchestrator_service
from tests.services.orchestrator.test_health import NOT_SERVING, SERVING, status_of
from tests.transport.serving import served
from tests.waiting import until

IMAGE = GenerationRequest((Message("user", ("image",)),), allowed_modalities=frozenset({"text", "image"}))


def waiting(pool: str) -> float:
    """Return the predicted seconds of work in the queue of a pool."""
    return REGISTRY.get_sample_value("motet_pool_queue_seconds", {"pool": pool}) or 0.0


@asynccontextmanager
async def addresses_without_workers() -> AsyncIterator[dict[str, str]]:
    """Yield an address for each worker, where nothing listens.

    They are sockets in a folder, because another process could take a free port before the worker does.
    """
    with TemporaryDirectory(prefix="motet-") as folder:
        yield {name: f"unix:{folder}/{name}" for name in ("encoder", "language_model", "image")}


@asynccontextmanager
async def orchestrator(addresses: Mapping[str, str], waits: bool) -> AsyncIterator[Server]:
    """Serve an orchestrator of workers at these addresses."""
    options = {
        "toy": True,
        "encoder": addresses["encoder"],
        "language_model": addresses["language_model"],
        "decoders": [f"image={addresses['image']}"],
        "wait_for_replicas": waits,
    }
    async with (
        orchestrator_service(options).open() as opened,
        Server(opened.servicers, readiness=opened.readiness) as server,
    ):
        yield server


async def test_requests_wait_while_all_workers_are_scaled_to_zero_and_none_is_lost() -> None:
    async with AsyncExitStack() as stack:
        addresses = await stack.enter_async_context(addresses_without_workers())
        server = await stack.enter_async_context(orchestrator(addresses, waits=True))
        channel = await stack.enter_async_context(open_channel(server.address))
        client = await stack.enter_async_context(Client(server.address))
        # A balancer that follows the health must send requests, because they are what scales the workers up.
        for name in ("", "motet.v1/text", "motet.v1/image", "motet.v1/input/image"):
            assert await status_of(channel, name) == SERVING
        assert await status_of(channel, "motet.v1/video") == NOT_SERVING, "it has no decoder in the settings"

        answers = [asyncio.create_task(client.answer(IMAGE)) for _ in range(4)]
        await until(lambda: waiting("llm") > 0)
        model = ToyLanguageModel(TOY.grammar)
        await stack.enter_async_context(served(model, address=addresses["language_model"]))
        await until(lambda: waiting("image") > 0)
        assert not any(answer.done() for answer in answers)
        await stack.enter_async_context(served(ToyDecoder("image"), address=addresses["image"]))

        for answer in await asyncio.gather(*answers):
            assert [part.modality for part in answer.parts if isinstance(part, MediaPart)] == ["image"]


@pytest.mark.parametrize("present", ["language_model", None])
async def test_requests_without_waiting_fail_as_unavailable_with_a_delay(present: str | None) -> None:
    async with AsyncExitStack() as stack:
        addresses = await stack.enter_async_context(addresses_without_workers())
        if present is not None:
            model = ToyLanguageModel(TOY.grammar)
            await stack.enter_async_context(served(model, address=addresses["language_model"]))
        server = await stack.enter_async_context(orchestrator(addresses, waits=False))
        client = await stack.enter_async_context(Client(server.address))
        if present is None:
            with pytest.raises(OverloadedError) as caught:
                await client.answer(IMAGE)
            error = caught.value
        else:
            payloads = [event.payload async for event in client.generate(IMAGE)]
            (failed,) = [payload for payload in payloads if isinstance(payload, PartFailed)]
            assert isinstance(failed.error, OverloadedError)
            error = failed.error

    assert error.reason is Reason.WORKER_UNAVAILABLE
    assert error.retry_after > 0


async def test_a_decoder_of_another_bundle_gets_no_calls() -> None:
    async with AsyncExitStack() as stack:
        addresses = await stack.enter_async_context(addresses_without_workers())
        model, other = ToyLanguageModel(TOY.grammar), ToyDecoder("image")
        await stack.enter_async_context(served(model, address=addresses["language_model"]))
        await stack.enter_async_context(served(other, address=addresses["image"], bundle_digest="sha256:other"))
        server = await stack.enter_async_context(orchestrator(addresses, waits=False))
        client = await stack.enter_async_context(Client(server.address))

        payloads = [event.payload async for event in client.generate(IMAGE)]

    (failed,) = [payload for payload in payloads if isinstance(payload, PartFailed)]
    assert failed.error.reason is Reason.WORKER_UNAVAILABLE
    assert "there is no image worker of this bundle" in failed.error.message
    assert not other.seen
