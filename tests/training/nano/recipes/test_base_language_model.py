"""What counts as wrong to say."""

from __future__ import annotations

import torch
from torch import nn

from motet.training.nano.data.token_batches import IGNORED, Batch
from motet.training.nano.recipes.base_language_model import spoken_loss


def test_what_is_spared_is_neither_right_nor_wrong() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 6)
    labels = torch.tensor([[IGNORED, 2, 3], [IGNORED, IGNORED, 1]])
    batch = Batch(torch.zeros_like(labels), labels, [], [], spared=[(1, 2, 5)])

    spoken_loss(layer, torch.randn(2, 3, 4), batch).backward()
    both = layer.bias.grad.clone()
    layer.zero_grad()
    only = Batch(batch.ids[1:], labels[1:], [], [], spared=[(0, 2, 5)])
    spoken_loss(layer, torch.randn(1, 3, 4), only).backward()

    assert (both != 0).all(), "elsewhere it counts"
    assert (layer.bias.grad != 0).tolist() == [True] * 5 + [False]
