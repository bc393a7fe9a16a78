"""The meter of the busy seconds of a model's device."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch

from motet.core.telemetry.busy_meter import BusyMeter, DeviceEvents
from motet.core.telemetry.service_kind import ServiceKind
from motet.models.gpu.gpu_uuid import gpu_uuid


def device_meter(component: ServiceKind, modalities: Iterable[str], device: torch.device) -> BusyMeter:
    """Return the meter of an engine whose batches run on a device, for items of the given modalities."""
    if device.type != "cuda":
        return BusyMeter(component, modalities)
    events = DeviceEvents(partial(torch.cuda.Event, enable_timing=True), gpu_uuid(device.index or 0))
    return BusyMeter(component, modalities, events)
