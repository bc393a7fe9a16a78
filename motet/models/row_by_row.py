"""A network whose rows do not hear each other: a row comes out the same whatever it is batched with.

Matrix products choose their way of summing by the number of rows. Where a row of the batch is one row of the matrix,
as in the embeddings of a timestep, one row or two or eight give other last bits, so these are computed a row at a time.
Elsewhere a row of the batch is many of the matrix, and the sums mostly agree: `CostCurve` looks whether they do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RowByRow(nn.Linear):
    """An `nn.Linear` that computes each row of an input (rows, features) by itself; other inputs as ever."""

    def forward(self, input: Tensor) -> Tensor:
        """See `nn.Linear.forward`."""
        if input.ndim != 2 or len(input) == 1:
            return super().forward(input)
        return torch.cat([super(RowByRow, self).forward(row) for row in torch.split(input, 1)])


def compute_row_by_row(network: nn.Module) -> None:
    """Makes every `nn.Linear` of a network a `RowByRow`, weights and names unchanged."""
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__class__ = RowByRow
