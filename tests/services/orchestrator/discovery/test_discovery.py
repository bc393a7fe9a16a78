"""Tests of the endpoints of a pool from several sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from motet.core.clock import now
from motet.core.errors import SettingsError
from services.orchestrator.discovery.discovery import Discovery
from services.orchestrator.discovery.endpoint import Endpoint, Endpoints
from tests.orchestrator.pool_harness import settle
from tests.waiting import in_virtual_time


class QueueSource:
    """A source of the endpoints that a test puts into a queue, or of an error."""

    def __init__(self, *first: str) -> None:
        self.queue: asyncio.Queue[Endpoints | SettingsError] = asyncio.Queue()
        if first:
            self.put(*first)

    def put(self, *addresses: str, server_name: str = "") -> None:
        self.queue.put_nowait(tuple(Endpoint(address, server_name) for address in addresses))

    def __str__(self) -> str:
        return "queue"

    async def watch(self) -> AsyncGenerator[Endpoints, None]:
        while True:
            found = await self.queue.get()
            if isinstance(found, SettingsError):
                raise found
            yield found


class Updates:
    """The updates of a pool, as lists of addresses."""

    def __init__(self) -> None:
        self.endpoints: list[Sequence[Endpoint]] = []

    async def __call__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints.append(endpoints)

    @property
    def addresses(self) -> list[list[str]]:
        return [[endpoint.address for endpoint in endpoints] for endpoints in self.endpoints]


@in_virtual_time
async def test_a_pool_has_the_endpoints_of_all_its_sources() -> None:
    updates, sources = Updates(), [QueueSource("a:1"), QueueSource("b:1", "b:2")]
    async with Discovery([Endpoint("c:1")], sources, updates):
        assert updates.addresses[0] == ["c:1", "a:1", "b:1", "b:2"]
        sources[1].put("b:2")
        await settle()
        assert updates.addresses[-1] == ["c:1", "a:1", "b:2"]
        sources[0].put()
        await settle()
        assert updates.addresses[-1] == ["c:1", "b:2"]


@in_virtual_time
async def test_endpoints_with_equal_addresses_are_one() -> None:
    updates, source = Updates(), QueueSource()
    source.put("a:1", server_name="other")
    async with Discovery([Endpoint("a:1", "first")], [source], updates):
        assert updates.endpoints == [[Endpoint("a:1", "first")]]


@in_virtual_time
async def test_a_source_that_does_not_answer_delays_the_start_for_a_short_time(caplog: Any) -> None:
    updates, late = Updates(), QueueSource()
    async with Discovery([], [QueueSource("a:1"), late], updates):
        assert now() == pytest.approx(2.0)
        assert updates.addresses == [["a:1"]]
        assert "no replicas are known yet of queue" in caplog.text
        late.put("b:1")
        await settle()
        assert updates.addresses[-1] == ["a:1", "b:1"]


@in_virtual_time
async def test_a_source_with_wrong_settings_ends_the_start() -> None:
    wrong = QueueSource()
    wrong.queue.put_nowait(SettingsError("set another one"))
    with pytest.raises(SettingsError, match="set another one"):
        async with Discovery([], [QueueSource("a:1"), wrong], Updates()):
            pass


@in_virtual_time
async def test_a_source_whose_settings_are_wrong_later_is_watched_again(caplog: Any) -> None:
    updates, late = Updates(), QueueSource()
    async with Discovery([], [late], updates):
        late.queue.put_nowait(SettingsError("set another one"))
        late.put("a:1")
        await asyncio.sleep(11)

        assert updates.addresses == [[], ["a:1"]]
        assert "set another one" in caplog.text


@in_virtual_time
async def test_changes_during_an_update_are_one_further_update() -> None:
    source, gate, seen = QueueSource("a:1"), asyncio.Event(), []
    gate.set()

    async def update(endpoints: Sequence[Endpoint]) -> None:
        seen.append([endpoint.address for endpoint in endpoints])
        await gate.wait()

    async with Discovery([], [source], update):
        gate.clear()
        for number in range(2, 9):
            source.put(f"a:{number}")
            await settle()
        gate.set()
        await settle()

    assert seen[-1] == ["a:8"]
    assert len(seen) <= 4


@in_virtual_time
async def test_an_update_that_fails_does_not_end_the_later_ones(caplog: Any) -> None:
    source, seen = QueueSource("a:1"), []

    async def update(endpoints: Sequence[Endpoint]) -> None:
        seen.append([endpoint.address for endpoint in endpoints])
        if seen[-1] == ["a:2"]:
            raise OSError("no more files")

    async with Discovery([], [source], update):
        for number in (2, 3):
            source.put(f"a:{number}")
            await settle()

    assert seen == [["a:1"], ["a:2"], ["a:3"]]
    assert "no more files" in caplog.text
