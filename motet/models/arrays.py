"""Conversion between Motet's tensors and torch's."""

from __future__ import annotations

import numpy as np
import torch

from motet.core.tensors import Tensor


def to_torch(tensor: Tensor) -> torch.Tensor:
    """Return a copy of the values as a torch tensor of the same dtype."""
    little_endian = np.dtype(tensor.dtype).newbyteorder("<")
    array = np.frombuffer(tensor.data, little_endian).reshape(tensor.shape)
    return torch.from_numpy(array.astype(tensor.dtype))


def from_torch(tensor: torch.Tensor) -> Tensor:
    """Return a copy of the values as a float32 tensor."""
    array = tensor.detach().to(torch.float32).cpu().contiguous().numpy()
    return Tensor("float32", tuple(array.shape), array.astype("<f4").tobytes())
