"""The batches of one of the encoder's networks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from operator import attrgetter

import torch

from motet.core.clock import now
from motet.core.telemetry.busy_meter import BusyMeter, Share
from motet.core.telemetry.compute_time import ComputeTime
from motet.core.telemetry.families import encoder_metrics
from motet.core.telemetry.prometheus import labelled
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import OTHER, Stage, StageTimer
from motet.core.tensors import Tensor
from motet.models.arrays import from_torch
from motet.models.encoder.preprocessing import Views
from motet.models.engine_thread import EngineThread, engine_error
from motet.scheduling.fair_semaphore import FairSemaphore

_ROWS = 8
"""Maximum number of views per forward, unless a batcher is created with another value."""
_SLOTS = 2 * _ROWS
"""Number of items that are decoded, preprocessed or embedded at the same time."""

_priority = attrgetter("priority")


class Batcher:
    """Compute the views of many items with one network, on one thread.

    Each forward takes at most `rows` waiting views. The items of the highest priority are first. Items of equal
    priority alternate view by view, so an item with many views does not delay the others. `meter`
    measures the forwards.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[torch.Tensor], torch.Tensor],
        rows: int = _ROWS,
        meter: BusyMeter | None = None,
    ) -> None:
        self._meter = meter or BusyMeter(ServiceKind.ENCODER, ())
        self._network = network
        self._rows = rows
        self._waiting: list[_Item] = []
        self._network_name, self._name = name, f"{name} encoder"
        self._thread: EngineThread[_Item] = EngineThread(self._name, self._step, self._fail)
        self.slots = FairSemaphore(_SLOTS)
        """Limits the memory for decoded media. Hold a slot from before an item is decoded until it is embedded."""

    async def embedding(
        self, views: Views, priority: int = 0, stages: StageTimer | None = None, share: Share | None = None
    ) -> Tensor:
        """Return the weighted mean of the network's outputs for the views: float32 of shape (width,).

        `stages` gets the waits and the forwards, and `share` the compute time. Without them, the modality is unknown.
        If the caller is cancelled, the views that no forward has taken yet are dropped.
        """
        stages = stages or StageTimer(ServiceKind.ENCODER, OTHER, Stage.BATCH_WAIT)
        stages.enter(Stage.BATCH_WAIT)
        item = _Item(views, priority, stages, share or Share(OTHER, ComputeTime()))
        self._thread.submit(item)
        return await asyncio.wrap_future(item.embedding)

    @property
    def waiting(self) -> int:
        """The number of items with views that no forward has taken yet."""
        return self._thread.arrived + len(self._waiting)

    def close(self) -> None:
        """Stop the thread. Wait for the current forward, and cancel the items that need another one."""
        self._thread.close()

    @torch.inference_mode()
    def _step(self, arrived: list[_Item], closed: bool) -> bool:
        """Compute one forward of the network."""
        self._waiting += arrived
        if closed:
            for item in self._waiting:
                item.embedding.cancel()
            self._waiting.clear()
        labelled(encoder_metrics.ENCODER_ITEMS_WAITING, self._network_name).set(len(self._waiting))
        if batch := self._next_batch():
            started = now()
            for item, _ in batch:
                item.stages.enter(Stage.FORWARD, started)
            try:
                pixels = torch.stack([item.views.pixels[view] for item, view in batch])
                with self._meter.measure([item.share for item, _ in batch]):
                    outputs = self._network(pixels)  # (rows, width)
            except Exception as error:
                for item, _ in batch:
                    item.fail(engine_error(error, self._name))
            else:
                ended = now()
                labelled(encoder_metrics.ENCODER_FORWARD_SECONDS, self._network_name).observe(ended - started)
                labelled(encoder_metrics.ENCODER_BATCH_SIZE, self._network_name).observe(len(batch))
                for (item, _), output in zip(batch, outputs, strict=True):
                    item.add_output(output, ended)
        return bool(self._waiting)

    def _fail(self, error: BaseException) -> None:
        """Fail all items, because the thread itself failed."""
        for item in self._waiting:
            item.fail(error)
        self._waiting.clear()

    def _next_batch(self) -> list[tuple[_Item, int]]:
        """Return the views of the next forward: for each view its item and its index in `Views.pixels`."""
        batch: list[tuple[_Item, int]] = []
        while self._waiting and len(batch) < self._rows:
            item = max(self._waiting, key=_priority)  # the first of several items
            self._waiting.remove(item)
            if item.embedding.done():
                continue
            batch.append((item, item.started))
            item.started += 1
            if item.started < len(item.views.pixels):
                self._waiting.append(item)
        return batch


class _Item:
    """An item whose views are being encoded."""

    def __init__(self, views: Views, priority: int, stages: StageTimer, share: Share) -> None:
        self.views = views
        self.stages = stages
        self.share = share
        self.priority = priority
        self.embedding: Future[Tensor] = Future()
        self.started = 0
        """The number of views that a forward has taken."""
        self._outputs: list[torch.Tensor] = []

    def add_output(self, output: torch.Tensor, at: float) -> None:
        """Add the network's output for the next view, computed at a time. The last output completes the embedding."""
        self._outputs.append(output)
        if len(self._outputs) < len(self.views.pixels):
            self.stages.enter(Stage.BATCH_WAIT, at)
        else:
            self.stages.end(at)
        if len(self._outputs) == len(self.views.pixels) and self.embedding.set_running_or_notify_cancel():
            mean = (self.views.weights[:, None] * torch.stack(self._outputs)).sum(dim=0)
            self.embedding.set_result(from_torch(mean))

    def fail(self, error: BaseException) -> None:
        """Complete the embedding with an error, unless it is complete or cancelled."""
        if not self.embedding.done() and self.embedding.set_running_or_notify_cancel():
            self.embedding.set_exception(error)
