"""What waits for one of the encoder's towers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from operator import attrgetter

import torch

from motet.core.tensors import Tensor
from motet.models.arrays import from_torch
from motet.models.encoder.preprocessing import Views
from motet.models.engine_thread import EngineThread
from motet.scheduling.fair_semaphore import FairSemaphore

_ROWS = 8
_ROOM = 2 * _ROWS

_priority = attrgetter("priority")


class Batcher:
    """Takes views of many items through one network, on a thread of its own.

    Views that wait at the same moment go through together, at most `rows` of them, the most urgent first; of items that
    are as urgent, one of each, then another of each, so that an item of many views does not hold up the others.
    """

    def __init__(self, name: str, network: Callable[[torch.Tensor], torch.Tensor], rows: int = _ROWS) -> None:
        self._network = network
        self._rows = rows
        self._waiting: list[_Item] = []
        self._thread: EngineThread[_Item] = EngineThread(f"{name} encoder", self._step, self._fail)
        self.room = FairSemaphore(_ROOM)
        """Held from before an item is decoded until it is embedded: decoded media take memory."""

    async def embedding(self, views: Views, priority: int = 0) -> Tensor:
        """The weighted mean of what the network makes of the views: float32 of shape (width,).

        Cancelling takes back the views that are not under way.
        """
        item = _Item(views, priority)
        self._thread.submit(item)
        return await asyncio.wrap_future(item.embedding)

    @property
    def waiting(self) -> int:
        """The number of items with views that no forward has taken yet."""
        return self._thread.arrived + len(self._waiting)

    def close(self) -> None:
        """End the thread. Wait for the current forward, and cancel the items that need another one."""
        self._thread.close()

    @torch.inference_mode()
    def _step(self, arrived: list[_Item], closed: bool) -> bool:
        """Compute one forward of the network."""
        self._waiting += arrived
        if closed:
            for item in self._waiting:
                item.embedding.cancel()
            self._waiting.clear()
        if chosen := self._chosen():
            try:
                rows = self._network(torch.stack([item.views.pixels[row] for item, row in chosen]))  # (rows, width)
            except Exception as error:
                for item, _ in chosen:
                    item.fail(error)
            else:
                for (item, _), embedded in zip(chosen, rows, strict=True):
                    item.take(embedded)
        return bool(self._waiting)

    def _fail(self, error: BaseException) -> None:
        """End all items, because the thread itself failed."""
        for item in self._waiting:
            item.fail(error)
        self._waiting.clear()

    def _chosen(self) -> list[tuple[_Item, int]]:
        """The items whose views go together now, and which of their views: a row of `Views.pixels` each."""
        chosen: list[tuple[_Item, int]] = []
        while self._waiting and len(chosen) < self._rows:
            item = max(self._waiting, key=_priority)  # of several, the one that came first
            self._waiting.remove(item)
            if item.embedding.done():
                continue
            chosen.append((item, item.begun))
            item.begun += 1
            if item.begun < len(item.views.pixels):
                self._waiting.append(item)
        return chosen


class _Item:
    """One item's views on their way."""

    def __init__(self, views: Views, priority: int) -> None:
        self.views = views
        self.priority = priority
        self.embedding: Future[Tensor] = Future()
        self.begun = 0
        """How many views are under way, or done."""
        self._rows: list[torch.Tensor] = []

    def take(self, row: torch.Tensor) -> None:
        """What the network made of the next view."""
        self._rows.append(row)
        if len(self._rows) == len(self.views.pixels) and self.embedding.set_running_or_notify_cancel():
            mean = (self.views.weights[:, None] * torch.stack(self._rows)).sum(dim=0)
            self.embedding.set_result(from_torch(mean))

    def fail(self, error: BaseException) -> None:
        """The network failed."""
        if not self.embedding.done() and self.embedding.set_running_or_notify_cancel():
            self.embedding.set_exception(error)
