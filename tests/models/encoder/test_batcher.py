"""Batches of views of several items."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import torch
from prometheus_client import REGISTRY

from motet.core.errors import OverloadedError, Reason, RetryableError
from motet.core.telemetry.busy_meter import Share
from motet.core.telemetry.compute_time import ComputeTime
from motet.models.arrays import to_torch
from motet.models.encoder.batcher import Batcher
from motet.models.encoder.preprocessing import Views


class Network:
    """A network that doubles its inputs, and records them. It blocks until `allowed` is set."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.started = threading.Event()
        self.allowed = threading.Event()
        self.failing_input: float | None = None
        self.error: Exception = RuntimeError("the network failed")

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        self.started.set()
        self.allowed.wait(50)
        self.batches.append(rows[:, 0].tolist())
        if self.failing_input in self.batches[-1]:
            raise self.error
        return 2 * rows


def views(*numbers: float) -> Views:
    """Return the views of an item: numbers with equal weights."""
    return Views(torch.tensor([[number] for number in numbers]), torch.full((len(numbers),), 1 / len(numbers)))


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def batcher(network: Network) -> AsyncIterator[Batcher]:
    """A batcher of four rows per forward. Its network computes the item 0 until `network.allowed` is set."""
    batcher = Batcher("test", network, rows=4)
    first = asyncio.create_task(batcher.embedding(views(0)))
    await asyncio.to_thread(network.started.wait, 50)
    yield batcher
    network.allowed.set()
    await asyncio.wait([first])
    batcher.close()


async def embed(batcher: Batcher, network: Network, *items: Views) -> list[float]:
    """Return the embeddings of items that arrive during the current forward."""
    tasks = [asyncio.create_task(batcher.embedding(item)) for item in items]
    await asyncio.sleep(0)
    network.allowed.set()
    return [to_torch(await task).item() for task in tasks]


async def test_waiting_items_share_a_forward(batcher: Batcher, network: Network) -> None:
    assert await embed(batcher, network, views(1), views(2), views(3)) == [2, 4, 6]
    assert network.batches == [[0], [1, 2, 3]]


async def test_a_forward_takes_no_more_views_than_the_limit(batcher: Batcher, network: Network) -> None:
    assert await embed(batcher, network, *map(views, range(1, 7))) == [2, 4, 6, 8, 10, 12]
    assert network.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_an_item_of_many_views_gets_their_mean_and_does_not_delay_the_next_item(
    batcher: Batcher, network: Network
) -> None:
    assert await embed(batcher, network, views(1, 2, 3, 4, 5, 6), views(10)) == [7, 20]
    assert network.batches == [[0], [1, 10, 2, 3], [4, 5, 6]]


async def test_the_highest_priority_is_first_and_items_of_equal_priority_alternate(
    batcher: Batcher, network: Network
) -> None:
    normal = asyncio.create_task(batcher.embedding(views(1, 2)))
    urgent = [asyncio.create_task(batcher.embedding(item, priority=1)) for item in (views(3, 4, 5), views(6, 7))]
    await asyncio.sleep(0)

    assert await embed(batcher, network, views(8)) == [16]
    await asyncio.gather(normal, *urgent)
    assert network.batches == [[0], [3, 6, 4, 7], [5, 1, 8, 2]]


async def test_a_cancelled_item_is_not_computed(batcher: Batcher, network: Network) -> None:
    cancelled = asyncio.create_task(batcher.embedding(views(1)))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])

    assert await embed(batcher, network, views(2)) == [4]
    assert network.batches == [[0], [2]]


async def test_a_failed_forward_fails_its_items_and_no_others(batcher: Batcher, network: Network) -> None:
    network.failing_input = 2
    failed = [asyncio.create_task(batcher.embedding(item)) for item in (views(1, 1, 1), views(2), views(3), views(4))]
    await asyncio.sleep(0)

    assert await embed(batcher, network, views(5)) == [10]
    assert [str(task.exception()) for task in failed] == ["the network failed"] * 4
    assert network.batches == [[0], [1, 2, 3, 4], [5]], "the other views of a failed item are not computed"


async def test_a_lack_of_memory_is_an_overload(batcher: Batcher, network: Network) -> None:
    network.failing_input, network.error = 1, torch.OutOfMemoryError("not enough memory")
    with pytest.raises(OverloadedError) as raised:
        await embed(batcher, network, views(1))
    assert raised.value.reason is Reason.OUT_OF_MEMORY


async def test_closing_cancels_the_waiting_items_and_completes_the_current_forward(network: Network) -> None:
    batcher = Batcher("test", network, rows=1)
    current, waiting = (asyncio.create_task(batcher.embedding(views(number))) for number in (1, 2))
    await asyncio.to_thread(network.started.wait, 50)

    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    items = [waiting]
    while not items[-1].done():  # A batcher that is closing refuses an item at once.
        items.append(asyncio.create_task(batcher.embedding(views(3))))
        await asyncio.sleep(0.001)
    network.allowed.set()
    await closing
    await asyncio.wait(items)

    assert all(item.cancelled() for item in items[:-1])
    assert isinstance(items[-1].exception(), RetryableError)
    assert to_torch(await current).item() == 2


async def test_items_share_the_time_of_their_forward_by_their_views(batcher: Batcher, network: Network) -> None:
    before = {modality: busy(modality) for modality in ("image", "video")}
    picture, clip = (Share(modality, ComputeTime()) for modality in ("image", "video"))
    items = (batcher.embedding(views(1), share=picture), batcher.embedding(views(2, 3, 4), share=clip))
    tasks = [asyncio.create_task(item) for item in items]
    await asyncio.sleep(0)
    network.allowed.set()
    await asyncio.gather(*tasks)

    assert network.batches == [[0], [1, 2, 3, 4]]
    assert clip.time.cpu == pytest.approx(3 * picture.time.cpu)
    assert picture.time.cpu > 0
    assert busy("image") - before["image"] == pytest.approx(picture.time.cpu)
    assert busy("video") - before["video"] == pytest.approx(clip.time.cpu)


def busy(modality: str) -> float:
    labels = {"component": "encoder", "modality": modality}
    return REGISTRY.get_sample_value("motet_cpu_busy_seconds_total", labels) or 0.0
