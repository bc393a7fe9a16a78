"""Batch-invariant layers for CPU: a row's result does not depend on the other rows.

torch chooses the order of a sum by the number of rows, and another order changes the last bits. Two kinds of layers are
affected. Matrix products change if a row of the batch is one row of the matrix, as in timestep embeddings:
`BatchInvariantLinear` computes one row at a time. Convolutions change for one row and for 16 or more rows: the
convolutions here always use oneDNN, which torch uses for 2 to 15 rows. `CostCurve` measures whether any other layer
depends on the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class BatchInvariantLinear(nn.Linear):
    """An `nn.Linear` that computes each row of an input (rows, features) alone. Other inputs are computed as usual."""

    def forward(self, input: Tensor) -> Tensor:
        """Override `nn.Linear.forward`."""
        if input.ndim != 2 or len(input) == 1:
            return super().forward(input)
        return torch.cat([super(BatchInvariantLinear, self).forward(row) for row in torch.split(input, 1)])


class BatchInvariantConv2d(nn.Conv2d):
    """An `nn.Conv2d` that uses oneDNN for any number of rows."""

    def forward(self, input: Tensor) -> Tensor:
        """Override `nn.Conv2d.forward`."""
        return _onednn_convolution(self, input)


class BatchInvariantConv3d(nn.Conv3d):
    """An `nn.Conv3d` that uses oneDNN for any number of rows."""

    def forward(self, input: Tensor) -> Tensor:
        """Override `nn.Conv3d.forward`."""
        return _onednn_convolution(self, input)


def make_batch_invariant(network: nn.Module) -> None:
    """Replace the layers of a network on a CPU by batch-invariant ones. Weights and their names do not change.

    Convolutions in half precision stay as they are: not every processor has one of oneDNN.
    """
    replacements: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: BatchInvariantLinear}
    single = all(parameter.dtype == torch.float32 for parameter in network.parameters())
    if single and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        replacements |= {nn.Conv2d: BatchInvariantConv2d, nn.Conv3d: BatchInvariantConv3d}
    for module in network.modules():
        module.__class__ = replacements.get(type(module), type(module))


def _onednn_convolution(layer: Any, input: Tensor) -> Tensor:
    output: Tensor = torch.mkldnn_convolution(
        input, layer.weight, layer.bias, layer.padding, layer.stride, layer.dilation, layer.groups
    )
    return output
