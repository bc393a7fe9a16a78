"""The device that a model runs on."""

from __future__ import annotations

import re

import torch

from motet.core.errors import SettingsError


def device_of(setting: str) -> torch.device:
    """Return the device that a setting names: "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.

    Raises `SettingsError` for any other name, and for a device that the machine does not have.
    """
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", setting):
        raise SettingsError(f"device (MOTET_DEVICE) must be auto, cpu, cuda or cuda:NUMBER, not {setting!r}")
    device, count = torch.device(setting), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise SettingsError(
            f"there is no {setting} for the device (MOTET_DEVICE): torch {torch.__version__} finds {count} GPUs; "
            "use another device, or auto"
        )
    return device
