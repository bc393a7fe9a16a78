"""The loss of the language model."""

from __future__ import annotations

import torch
from torch import nn

from motet.training.nano.data.token_batches import IGNORED, TokenBatch
from motet.training.nano.recipes.base_language_model import text_loss


def test_an_excluded_id_has_no_gradient() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 6)
    labels = torch.tensor([[IGNORED, 2, 3], [IGNORED, IGNORED, 1]])
    batch = TokenBatch(torch.zeros_like(labels), labels, [], [], excluded=[(1, 2, 5)])

    text_loss(layer, torch.randn(2, 3, 4), batch).backward()
    both_sequences = layer.bias.grad.clone()
    layer.zero_grad()
    second = TokenBatch(batch.ids[1:], labels[1:], [], [], excluded=[(0, 2, 5)])
    text_loss(layer, torch.randn(1, 3, 4), second).backward()

    assert (both_sequences != 0).all(), "the id has a gradient at other positions"
    assert (layer.bias.grad != 0).tolist() == [True] * 5 + [False]
