"""How views of several items share passes through one network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import torch

from motet.models.arrays import to_torch
from motet.models.encoder.batcher import Batcher
from motet.models.encoder.preprocessing import Views


class Network:
    """Doubles numbers; keeps what it was given, and does nothing before it may."""

    def __init__(self) -> None:
        self.passes: list[list[float]] = []
        self.busy = threading.Event()
        self.may_go_on = threading.Event()
        self.broken_by: float | None = None

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        self.busy.set()
        self.may_go_on.wait(30)
        self.passes.append(rows[:, 0].tolist())
        if self.broken_by in self.passes[-1]:
            raise RuntimeError("out of memory")
        return 2 * rows


def views(*numbers: float) -> Views:
    """An item whose views are numbers, all of the same weight."""
    return Views(torch.tensor([[number] for number in numbers]), torch.full((len(numbers),), 1 / len(numbers)))


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def queue(network: Network) -> AsyncIterator[Batcher]:
    """A queue of four rows a pass, whose network is kept busy by the item 0 until it may go on."""
    queue = Batcher("test", network, rows=4)
    first = asyncio.create_task(queue.embedding(views(0)))
    await asyncio.to_thread(network.busy.wait, 30)
    yield queue
    network.may_go_on.set()
    await asyncio.wait([first])
    queue.close()


async def all_of(queue: Batcher, network: Network, *items: Views) -> list[float]:
    """The embeddings of items that come while the network is busy."""
    tasks = [asyncio.create_task(queue.embedding(item)) for item in items]
    await asyncio.sleep(0)
    network.may_go_on.set()
    return [to_torch(await task).item() for task in tasks]


async def test_items_that_wait_go_through_the_network_together(queue: Batcher, network: Network) -> None:
    assert await all_of(queue, network, views(1), views(2), views(3)) == [2, 4, 6]
    assert network.passes == [[0], [1, 2, 3]]


async def test_a_pass_takes_no_more_rows_than_it_may(queue: Batcher, network: Network) -> None:
    assert await all_of(queue, network, *map(views, range(1, 7))) == [2, 4, 6, 8, 10, 12]
    assert network.passes == [[0], [1, 2, 3, 4], [5, 6]]


async def test_an_item_of_many_views_gets_their_mean_and_does_not_hold_up_the_next(
    queue: Batcher, network: Network
) -> None:
    assert await all_of(queue, network, views(1, 2, 3, 4, 5, 6), views(10)) == [7, 20]
    assert network.passes == [[0], [1, 10, 2, 3], [4, 5, 6]]


async def test_the_urgent_go_first_and_those_that_are_equally_so_by_turns(queue: Batcher, network: Network) -> None:
    usual = asyncio.create_task(queue.embedding(views(1, 2)))
    urgent = [asyncio.create_task(queue.embedding(item, priority=1)) for item in (views(3, 4, 5), views(6, 7))]
    await asyncio.sleep(0)

    assert await all_of(queue, network, views(8)) == [16]
    await asyncio.gather(usual, *urgent)
    assert network.passes == [[0], [3, 6, 4, 7], [5, 1, 8, 2]]


async def test_what_is_cancelled_is_not_computed(queue: Batcher, network: Network) -> None:
    unwanted = asyncio.create_task(queue.embedding(views(1)))
    await asyncio.sleep(0)
    unwanted.cancel()
    await asyncio.wait([unwanted])

    assert await all_of(queue, network, views(2)) == [4]
    assert network.passes == [[0], [2]]


async def test_a_pass_that_fails_fails_the_items_in_it_and_no_other(queue: Batcher, network: Network) -> None:
    network.broken_by = 2
    broken = [asyncio.create_task(queue.embedding(item)) for item in (views(1, 1, 1), views(2), views(3), views(4))]
    await asyncio.sleep(0)

    assert await all_of(queue, network, views(5)) == [10]
    assert [str(task.exception()) for task in broken] == ["out of memory"] * 4
    assert network.passes == [[0], [1, 2, 3, 4], [5]], "an item that failed is not looked at any further"


async def test_who_still_waits_when_the_queue_is_closed_is_cancelled(network: Network) -> None:
    queue = Batcher("test", network, rows=1)
    begun, waiting = (asyncio.create_task(queue.embedding(views(number))) for number in (1, 2))
    await asyncio.to_thread(network.busy.wait, 30)

    closing = asyncio.create_task(asyncio.to_thread(queue.close))
    await asyncio.wait([waiting])
    network.may_go_on.set()
    await closing

    assert waiting.cancelled()
    assert to_torch(await begun).item() == 2
