"""The GPU that the models of this process use, if they use one."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


@contextmanager
def gpu_readings(component: str, device: str) -> Iterator[Callable[[], Awaitable[None]]]:
    """Yield the function that refreshes the metrics of the GPU before a scrape.

    Enter this context after the models are loaded. `device` is the setting that `device_of` took. If no model uses a
    GPU, the function does nothing.
    """
    index = _index_in_use(device)
    if index is None:
        yield _nothing
        return
    from motet.models.gpu.gpu_monitor import GpuMonitor

    with GpuMonitor(component, index) as monitor:
        yield monitor.refresh


def _index_in_use(device: str) -> int | None:
    """Return the number of the GPU that PyTorch uses, or None."""
    # Toys, and decoders without weights, do not import torch. It takes seconds.
    if "torch" not in sys.modules:
        return None
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    return 0 if device == "auto" else torch.device(device).index or 0


async def _nothing() -> None:
    """Do nothing: there is no GPU."""
