"""The scaler of a real orchestrator whose workers are scaled to zero."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from motet.client import Client
from motet.core.request import GenerationRequest, Message
from motet.toys.manifest import TOY
from motet.toys.workers import ToyDecoder, ToyLanguageModel
from motet.transport.server import Server
from services.orchestrator.service import orchestrator_service
from tests.services.orchestrator.scaler.harness import keda_at
from tests.services.orchestrator.test_wait_for_replicas import addresses_without_workers
from tests.transport.serving import served
from tests.waiting import until

IMAGE = GenerationRequest((Message("user", ("image",)),), allowed_modalities=frozenset({"text", "image"}))
LLM = "llm"


async def test_a_burst_wakes_each_pool_once_when_its_work_comes_and_no_request_is_lost(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        addresses = await stack.enter_async_context(addresses_without_workers())
        options = {
            "toy": True,
            "encoder": addresses["encoder"],
            "language_model": addresses["language_model"],
            "decoders": [f"image={addresses['image']}"],
            "wait_for_replicas": True,
            "scaler_listen": f"unix:{tmp_path}/scaler",
        }
        opened = await stack.enter_async_context(orchestrator_service(options).open())
        server = await stack.enter_async_context(Server(opened.servicers, readiness=opened.readiness))
        client = await stack.enter_async_context(Client(server.address))
        keda = await stack.enter_async_context(keda_at(options["scaler_listen"]))
        llm, image, encoder = (keda.watch(pool) for pool in (LLM, "image", "encoder"))
        await until(lambda: llm == image == encoder == [False])

        answers = [asyncio.create_task(client.answer(IMAGE)) for _ in range(8)]
        await until(lambda: len(llm) > 1)
        assert await keda.active(LLM)
        assert await keda.demand(LLM) > 0
        assert not await keda.active("image"), "no image is requested yet"
        model = ToyLanguageModel(TOY.grammar)
        await stack.enter_async_context(served(model, address=addresses["language_model"]))
        await until(lambda: len(image) > 1)
        decoder = ToyDecoder("image", delay=0.02)
        await stack.enter_async_context(served(decoder, address=addresses["image"]))
        await until(lambda: decoder.running > 0)
        assert await keda.active("image"), "running work counts, also if the queue is empty"
        await asyncio.gather(*answers)
        await until(lambda: llm == image == [False, True, False])

        assert await keda.demand("image") == await keda.demand(LLM) == 0
        assert encoder == [False], "no media were attached"
