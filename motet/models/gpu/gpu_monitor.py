"""The monitor of the GPU that this process uses."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import pynvml

from motet.core.clock import now
from motet.core.telemetry.families import gpu_metrics as metrics
from motet.models.gpu.gpu_reading import GaugeKey, GpuReading, read_gpu
from motet.models.gpu.visible_gpu import VisibleGpu, visible_gpu
from motet.models.gpu.xid_watcher import XidWatcher

logger = logging.getLogger(__name__)

TIMEOUT = 0.5
"""Maximum time that a scrape waits for a reading, in seconds."""
MAX_AGE = 30.0
"""Maximum age of the exported readings, in seconds, if NVML does not answer."""


class GpuMonitor:
    """The exporter of NVML's readings of the GPU "cuda:`index`" of this process.

    All calls of NVML run on threads of their own, because a call may take long, or hang with a broken driver. If calls
    fail or hang, `motet_gpu_readable` is 0, and there are no readings until calls succeed. `component` is the kind of
    the process's service.
    """

    def __init__(self, component: str, index: int = 0, timeout: float = TIMEOUT, max_age: float = MAX_AGE) -> None:
        self._component, self._index = component, index
        self._timeout, self._max_age = timeout, max_age
        self._requests: SimpleQueue[Future[None] | None] = SimpleQueue()
        self._reading: asyncio.Future[None] | None = None
        self._lock = threading.Lock()
        """Protects the exported readings."""
        self._read_at = now()
        self._failure = ""
        self._exported: set[GaugeKey] = set()
        self._joules: float | None = None
        self._gpu: VisibleGpu | None = None
        self._watcher: XidWatcher | None = None

    def __enter__(self) -> Self:
        """Start the thread."""
        # A call of NVML that never returns must not keep the process from its end.
        threading.Thread(target=self._run, name="gpu-monitor", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads without waiting for them, and remove the readings."""
        self._requests.put(None)
        if self._watcher is not None:
            self._watcher.stop()
        with self._lock:
            self._forget()
            metrics.GPU_READABLE.clear()

    async def refresh(self) -> None:
        """Read the GPU, and wait for the reading for at most `timeout` seconds.

        A late reading counts for the next call. Readings older than `max_age` seconds are removed.
        """
        if self._reading is None or self._reading.done():
            request: Future[None] = Future()
            self._reading = asyncio.wrap_future(request)
            self._requests.put(request)
        done, _ = await asyncio.wait([self._reading], timeout=self._timeout)
        if not done:
            with self._lock:
                if now() - self._read_at > self._max_age:
                    self._fail(f"NVML did not answer for {self._max_age:g} s")

    def _run(self) -> None:
        """Read the GPU once for each request, until the request is None."""
        while (request := self._requests.get()) is not None:
            try:
                reading = self._read()
                with self._lock:
                    self._export(reading)
            except pynvml.NVMLError as error:
                with self._lock:
                    self._fail(str(error))
                self._close()
            finally:
                request.set_result(None)
        self._close()

    def _read(self) -> GpuReading:
        if self._gpu is None:
            pynvml.nvmlInit()
            self._gpu = visible_gpu(self._index)
            if self._gpu is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        if self._watcher is None or (self._watcher.supported and not self._watcher.runs):
            self._watcher = XidWatcher(self._gpu)
        return read_gpu(self._gpu, self._component)

    # No method below calls NVML while it holds the lock, for which the event loop waits.

    def _export(self, reading: GpuReading) -> None:
        self._read_at, self._failure = now(), ""
        self._forget(except_for=reading.gauges)
        for (gauge, labels), value in reading.gauges.items():
            gauge.labels(*labels).set(value)
        self._exported.update(reading.gauges)
        if reading.joules is not None:
            self._count_energy(reading.uuid, reading.joules)
        metrics.GPU_READABLE.labels(self._component).set(1)

    def _count_energy(self, uuid: str, joules: float) -> None:
        counter = metrics.GPU_ENERGY.labels(uuid)
        if self._joules is not None:
            # The driver's counter begins again with 0 if the driver is loaded again.
            counter.inc(joules - self._joules if joules >= self._joules else joules)
        self._joules = joules

    def _fail(self, reason: str) -> None:
        if reason != self._failure:
            logger.warning("the GPU cannot be read", extra={"error": reason})
        self._failure = reason
        self._forget()
        metrics.GPU_READABLE.labels(self._component).set(0)

    def _forget(self, except_for: Collection[GaugeKey] = ()) -> None:
        for gauge, labels in self._exported.difference(except_for):
            gauge.remove(*labels)
        self._exported.intersection_update(except_for)

    def _close(self) -> None:
        """Close the library. The next reading opens it again, and finds the GPU again."""
        self._gpu = None
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        with suppress(pynvml.NVMLError):  # The library was not open, or fails with every call.
            pynvml.nvmlShutdown()
