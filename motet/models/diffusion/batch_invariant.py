"""A network whose rows do not hear each other: a row comes out the same whatever it is batched with.

torch chooses how to sum by the number of rows, and other sums end in other last bits. Matrix products do so where a row
of the batch is one row of the matrix, as in the embeddings of a timestep: these are computed a row at a time.
Convolutions do so for a single row, and from sixteen on: these always go the way that torch takes for a few, oneDNN's.
Whether anything else depends on the batch, `CostCurve` sees.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class BatchInvariantLinear(nn.Linear):
    """An `nn.Linear` that computes each row of an input (rows, features) by itself; other inputs as ever."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Linear.forward`."""
        if input.ndim != 2 or len(input) == 1:
            return super().forward(input)
        return torch.cat([super(BatchInvariantLinear, self).forward(row) for row in torch.split(input, 1)])


class BatchInvariantConv2d(nn.Conv2d):
    """An `nn.Conv2d` that goes one way for any number of rows."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Conv2d.forward`."""
        return _one_way(self, input)


class BatchInvariantConv3d(nn.Conv3d):
    """An `nn.Conv3d` that goes one way for any number of rows."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Conv3d.forward`."""
        return _one_way(self, input)


def make_batch_invariant(network: nn.Module) -> None:
    """Has a network on a CPU compute so; its weights and names stay as they are."""
    kinds: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: BatchInvariantLinear}
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        kinds |= {nn.Conv2d: BatchInvariantConv2d, nn.Conv3d: BatchInvariantConv3d}
    for module in network.modules():
        module.__class__ = kinds.get(type(module), type(module))


def _one_way(own: Any, input: Tensor) -> Tensor:
    convolved: Tensor = torch.mkldnn_convolution(
        input, own.weight, own.bias, own.padding, own.stride, own.dilation, own.groups
    )
    return convolved
