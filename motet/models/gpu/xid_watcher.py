"""The XID errors that the driver reports for a GPU."""

from __future__ import annotations

import logging
import threading

import pynvml

from motet.core.telemetry.families import gpu_metrics as metrics
from motet.models.gpu.visible_gpu import VisibleGpu, if_supported

logger = logging.getLogger(__name__)

_WAIT_MS = 1000
"""Maximum time of one wait for an event, in milliseconds. After it, the thread sees that it must stop."""
_KNOWN = frozenset(map(str, (13, 31, 32, 43, 45, 48, 61, 62, 63, 64, 68, 69, 74, 79, 92, 94, 95, 119, 120, 140)))
"""The XID errors with a label of their own: those of NVIDIA's list that point to an application or to the hardware."""
_OTHER = "other"


class XidWatcher:
    """A thread that counts the XID errors of a GPU until `stop`, or until NVML fails.

    The driver reports an error only to programs that wait for it, so a reading for each scrape would miss errors.
    """

    def __init__(self, gpu: VisibleGpu) -> None:
        self._gpu = gpu
        self._stopped = threading.Event()
        self.supported = True
        """False after the GPU or its driver refused to report XID errors."""
        for xid in (*_KNOWN, _OTHER):
            # A series that begins with 1 has no increase, so no alert would see the first error.
            metrics.GPU_XID_ERRORS.labels(gpu.uuid, xid)
        # A call of NVML that never returns must not keep the process from its end.
        self._thread = threading.Thread(target=self._run, name="gpu-xid", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """True until the thread ends."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let the thread end after its current wait."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            # This thread's own use of the library keeps it open if the monitor closes it.
            pynvml.nvmlInit()
            try:
                self._watch()
            finally:
                pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            logger.warning("XID errors of the GPU are not watched", extra={"gpu": self._gpu.uuid, "error": str(error)})

    def _watch(self) -> None:
        events = pynvml.nvmlEventSetCreate()
        try:
            kind = pynvml.nvmlEventTypeXidCriticalError
            registered = if_supported(lambda: [pynvml.nvmlDeviceRegisterEvents(self._gpu.gpu, kind, events)])
            self.supported = registered is not None
            while self.supported and not self._stopped.is_set():
                try:
                    event = pynvml.nvmlEventSetWait_v2(events, _WAIT_MS)
                except pynvml.NVMLError_Timeout:
                    continue
                self._count(str(event.eventData))
        finally:
            pynvml.nvmlEventSetFree(events)

    def _count(self, xid: str) -> None:
        metrics.GPU_XID_ERRORS.labels(self._gpu.uuid, xid if xid in _KNOWN else _OTHER).inc()
        logger.error("the driver reported an XID error", extra={"gpu": self._gpu.uuid, "xid": xid})
