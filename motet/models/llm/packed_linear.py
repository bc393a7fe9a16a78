"""Linear maps whose weights lie in memory the way they are multiplied fastest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

# The layout depends on how many vectors come at a time; this one suits all numbers, as was measured.
_VECTORS = 4


class PackedLinear:
    """Linear maps of the same vectors, as one whose results stand beside each other: (..., in) -> (..., out).

    On a CPU the weights are laid out for oneDNN once, instead of for MKL at every call, which takes half the time for
    four vectors and more, and gives each vector the same bits whatever the others are. The maps stay as they are then;
    elsewhere their weights become parts of the whole, so nothing is held twice.
    """

    def __init__(self, maps: Sequence[Any]) -> None:
        """From torch's own maps, which all have a bias or none."""
        self._multiply: Any = None
        weights = [each.weight for each in maps]
        if _can_pack(weights[0]):
            self._multiply = torch.ops.mkldnn._linear_pointwise.default
            self._weight = torch.ops.mkldnn._reorder_linear_weight(_below_each_other(weights), _VECTORS)
        else:
            self._weight = _joined(weights)
        self._bias = None if maps[0].bias is None else _below_each_other([each.bias for each in maps])

    def __call__(self, vectors: Tensor) -> Tensor:
        if self._multiply is None:
            return linear(vectors, self._weight, self._bias)
        multiplied: Tensor = self._multiply(vectors, self._weight, self._bias, "none", [], "")
        return multiplied


def _can_pack(weight: Tensor) -> bool:
    # torch compiles models to calls of this operator, but has no public name for it.
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):  # type: ignore[no-untyped-call]
        return False
    return weight.device.type == "cpu" and weight.dtype == torch.float32


def _below_each_other(parameters: Sequence[Any]) -> Tensor:
    return torch.cat([parameter.data for parameter in parameters])


def _joined(parameters: Sequence[Any]) -> Tensor:
    """The parameters below each other; each becomes a part of the whole."""
    whole = _below_each_other(parameters)
    for parameter, part in zip(parameters, torch.split(whole, [len(each) for each in parameters]), strict=True):
        parameter.data = part
    return whole
