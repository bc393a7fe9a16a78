"""The UUID of the GPU of a model."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import cache

import pynvml
import torch

from motet.models.gpu.visible_gpu import visible_gpu

_TIMEOUT = 5.0
"""Maximum time for NVML to find the GPU, in seconds."""


@cache
def gpu_uuid(index: int) -> str:
    """Return the UUID of the whole GPU that PyTorch calls "cuda:INDEX", also if the process uses an instance of it.

    If NVML fails or hangs, return the UUID that PyTorch knows, which may be that of the instance.
    """
    found: Future[str] = Future()
    threading.Thread(target=_find, args=(index, found), name="gpu-uuid", daemon=True).start()
    try:
        uuid = found.result(_TIMEOUT)
    except TimeoutError:
        uuid = ""
    return uuid or f"GPU-{torch.cuda.get_device_properties(index).uuid}"


def _find(index: int, found: Future[str]) -> None:
    try:
        pynvml.nvmlInit()
        try:
            gpu = visible_gpu(index)
        finally:
            pynvml.nvmlShutdown()
        found.set_result("" if gpu is None else gpu.uuid)
    except pynvml.NVMLError:
        found.set_result("")
