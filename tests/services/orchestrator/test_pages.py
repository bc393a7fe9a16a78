"""Tests of pages of records: they fit a message, and other calls run while they are made."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.caller import ANONYMOUS
from motet.core.errors import FaultError
from motet.core.events import Generation, PartFailed, State
from motet.transport import convert
from motet.transport.access.current_caller import called_by
from motet.v1 import generation_service_pb2 as pb
from services.orchestrator.servicer import GenerationServicer
from tests.callers import for_anyone
from tests.services.orchestrator.test_servicer import Stubs, deployed

ERROR = FaultError("x" * 1000, metadata={f"key {n}": "y" * 200 for n in range(8)})


class RecordedMotet:
    """A `Motet` of finished generations. `sizes` holds the requested sizes."""

    def __init__(self, count: int, failures: int) -> None:
        failed = tuple(PartFailed(f"part-{n}", ERROR, False) for n in range(failures))
        self.records = [Generation(f"generations/{n}", State.FAILED, failures=failed) for n in range(count)]
        self.sizes: list[int] = []

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        self.sizes.append(page_size)
        start = int(page_token or 0)
        end = start + page_size
        return self.records[start:end], str(end) if end < len(self.records) else ""

    async def models(self) -> list[object]:
        return []


async def pages_of(stubs: Stubs, page_size: int) -> list[pb.ListGenerationsResponse]:
    """Return all pages."""
    pages, token = [], ""
    while not pages or token:
        request = pb.ListGenerationsRequest(page_size=page_size, page_token=token)
        pages.append(await stubs.generation.ListGenerations(request, timeout=50))
        token = pages[-1].next_page_token
    return pages


@pytest.mark.parametrize(("page_size", "sizes"), [(1000, [500]), (0, [50] * 10), (300, [300, 200])])
async def test_a_page_of_small_records_has_the_requested_size(page_size: int, sizes: list[int]) -> None:
    async with deployed(RecordedMotet(500, failures=0)) as stubs:
        pages = await pages_of(stubs, page_size)

    assert [len(page.generations) for page in pages] == sizes


async def test_a_page_of_large_records_fits_a_message_and_the_next_page_continues() -> None:
    motet = RecordedMotet(500, failures=8)
    async with deployed(motet) as stubs:
        pages = await pages_of(stubs, 1000)

    assert [record.name for page in pages for record in page.generations] == [record.name for record in motet.records]
    assert 3 < len(pages) < 20
    assert max(page.ByteSize() for page in pages) < 2 * 2**20
    assert convert.generation_from_proto(pages[0].generations[0]).failures[0].error.message == ERROR.message


async def test_other_work_runs_between_the_pieces_of_a_page() -> None:
    motet = RecordedMotet(200, failures=1)
    servicer = GenerationServicer(for_anyone(motet))
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    with called_by(ANONYMOUS):
        page = await servicer.ListGenerations(pb.ListGenerationsRequest(page_size=200), None)
    counting.cancel()

    assert len(page.generations) == 200
    assert max(motet.sizes) <= 16
    assert turns >= 200 / 16
