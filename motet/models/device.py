"""Where a model computes."""

from __future__ import annotations

import re

import torch

from motet.core.errors import SettingsError


def device_of(wanted: str) -> torch.device:
    """The device that a setting names: "cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one.

    Raises `SettingsError` for any other, and for one that this machine does not have.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", wanted):
        raise SettingsError(f"device (MOTET_DEVICE) must be auto, cpu, cuda or cuda:NUMBER, not {wanted!r}")
    device, there = torch.device(wanted), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= there:
        raise SettingsError(
            f"there is no {wanted} for the device (MOTET_DEVICE): torch {torch.__version__} finds {there} GPUs here; "
            "name another one, or auto"
        )
    return device
