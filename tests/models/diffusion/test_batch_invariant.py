"""Rows that do not hear each other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from motet.models.diffusion.batch_invariant import make_batch_invariant

torch.set_num_threads(1)


def test_a_row_comes_out_the_same_whatever_it_is_batched_with() -> None:
    network = nn.Sequential(nn.Linear(512, 192), nn.SiLU(), nn.Linear(192, 512))
    rows = torch.randn(16, 512, generator=torch.Generator().manual_seed(0))
    make_batch_invariant(network)
    together = network(rows)
    for row, alone in zip(together, rows, strict=True):
        assert torch.equal(row, network(alone[None])[0])


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 20])
def test_a_convolution_s_row_comes_out_the_same_too(rows: int) -> None:
    flat = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 8, 1), nn.Conv2d(8, 8, 3, 2, 1))
    deep = nn.Sequential(nn.Conv3d(8, 16, (3, 1, 1), padding=(1, 0, 0)), nn.SiLU(), nn.Conv3d(16, 8, 3))
    for network, shape in ((flat, (8, 6, 6)), (deep, (8, 4, 6, 6))):
        inputs = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0))
        before = network(inputs)
        make_batch_invariant(network)
        together = network(inputs)
        assert torch.allclose(together, before, atol=1e-5)
        for row, alone in zip(together, inputs, strict=True):
            assert torch.equal(row, network(alone[None])[0])


def test_weights_names_and_other_inputs_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Linear(8, 4))
    before, tokens = dict(network.state_dict()), torch.randn(2, 3, 8)
    expected = network(tokens)
    make_batch_invariant(network)
    assert torch.equal(network(tokens), expected)
    assert all(torch.equal(before[name], weights) for name, weights in network.state_dict().items())
