"""Tests of the queue between an engine's thread and an event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from motet.models.event_queue import EventBatch, EventQueue


async def test_events_of_another_thread_are_received_in_order_until_the_queue_is_closed() -> None:
    queue: EventQueue[int] = EventQueue()

    def fill() -> None:
        for number in range(100):
            queue.put(number)
        queue.close()

    threading.Thread(target=fill).start()

    assert [number async for number in queue] == list(range(100))
    assert [number async for number in queue] == []


async def test_the_reader_gets_the_error_after_the_events_before_it() -> None:
    queue: EventQueue[int] = EventQueue()
    queue.put(1)
    queue.close(ValueError("broken"))

    assert await anext(queue) == 1
    with pytest.raises(ValueError, match="broken"):
        await anext(queue)


async def test_waiting_until_the_queue_is_closed_drops_unread_events() -> None:
    queue: EventQueue[int] = EventQueue()
    waiter = asyncio.create_task(queue.wait_closed())
    queue.put(1)
    await asyncio.sleep(0)
    assert not waiter.done()

    queue.close(ValueError("broken"))
    await asyncio.wait_for(waiter, 10)
    assert [number async for number in queue] == []


def test_a_queue_whose_event_loop_is_closed_refuses_events() -> None:
    async def create() -> EventQueue[int]:
        return EventQueue()

    queue = asyncio.run(create())
    with pytest.raises(RuntimeError):
        queue.put(1)


async def test_a_batch_sends_the_events_of_all_queues_in_order_and_closes_them() -> None:
    first, second = EventQueue[int](), EventQueue[int]()
    batch = EventBatch()
    batch.put(first, 1)
    batch.put(second, 2)
    batch.put(first, 3)
    batch.close(first)
    batch.close(second, ValueError("broken"))

    assert await asyncio.to_thread(batch.send) == set()

    assert [number async for number in first] == [1, 3]
    assert await anext(second) == 2
    with pytest.raises(ValueError, match="broken"):
        await anext(second)


async def test_a_batch_reaches_other_loops_than_a_closed_one_and_returns_the_queues_of_that() -> None:
    async def create() -> EventQueue[int]:
        return EventQueue()

    closed = await asyncio.to_thread(asyncio.run, create())
    queue: EventQueue[int] = EventQueue()
    batch = EventBatch()
    for each in (closed, queue):
        batch.put(each, 1)
        batch.close(each)

    assert batch.send() == {closed}
    assert [number async for number in queue] == [1]
    assert batch.send() == set(), "events are sent once"
