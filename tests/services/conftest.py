"""Fixtures of several tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from motet.client import Client
from motet.transport.server import Server
from services.embedded import embedded
from services.factory import Factory
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer
from tests.callers import for_anyone
from tests.services.both import Both


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async with AsyncExitStack() as stack:
        motet = await stack.enter_async_context(embedded(Factory.of_toys()))
        servicers = [servicer(for_anyone(motet)) for servicer in (GenerationServicer, ArtifactServicer, ModelServicer)]
        server = await stack.enter_async_context(Server(servicers))
        yield Both(motet, await stack.enter_async_context(Client(server.address)))
