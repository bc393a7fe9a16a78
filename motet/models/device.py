"""The device that a model runs on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from motet.core.errors import SettingsError

if TYPE_CHECKING:
    import torch


def checked_device(setting: str) -> str:
    """Return the name of a device. Raises `SettingsError` for a name that no machine has."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", setting):
        raise SettingsError(f"device (MOTET_DEVICE) must be auto, cpu, cuda or cuda:NUMBER, not {setting!r}")
    return setting


def device_of(setting: str) -> torch.device:
    """Return the device that a setting names: "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.

    Raises `SettingsError` for any other name, and for a device that the machine does not have.
    """
    # A command checks its settings before it imports torch, which takes a second.
    import torch

    if checked_device(setting) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device, count = torch.device(setting), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise SettingsError(
            f"there is no {setting} for the device (MOTET_DEVICE): torch {torch.__version__} finds {count} GPUs; "
            "use another device, or auto"
        )
    return device
