"""The dtype that a network computes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from motet.core.errors import FaultError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DtypeSetting = Literal["auto", "float32", "bfloat16", "float16"]
"""The dtype of all networks, or `auto`."""


def dtype_of(setting: DtypeSetting, device: torch.device, weights: Iterable[Tensor]) -> torch.dtype:
    """Return the dtype that a network with these weights computes in on a device.

    `auto` is the dtype of most values of the weights; for float64, it is float32. On a CPU `auto` is float32, because a
    CPU without instructions for half precision is many times slower with it.
    """
    # A command checks its settings before it imports torch, which takes a second.
    import torch

    if setting != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[setting]
    values: Counter[torch.dtype] = Counter()
    for tensor in weights:
        values[tensor.dtype] += tensor.numel()
    stored = values.most_common(1)[0][0] if values else torch.float32
    return torch.float32 if device.type == "cpu" or stored == torch.float64 else stored


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a dtype, such as "float16"."""
    return str(dtype).removeprefix("torch.")


def not_finite(result: str, dtype: torch.dtype, remedy: str) -> FaultError:
    """Return the error for a result in a dtype that is not finite. Half precision has an additional remedy."""
    name = name_of(dtype)
    wider = "" if name == "float32" else "set MOTET_DTYPE=float32, or "
    return FaultError(f"{result} in {name} is not finite; {wider}{remedy}")
