"""Batch-invariant layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from motet.models.diffusion.batch_invariant import make_batch_invariant

torch.set_num_threads(1)


def test_a_row_s_result_does_not_depend_on_the_other_rows() -> None:
    network = nn.Sequential(nn.Linear(512, 192), nn.SiLU(), nn.Linear(192, 512))
    rows = torch.randn(16, 512, generator=torch.Generator().manual_seed(0))
    make_batch_invariant(network)
    batched = network(rows)
    for output, row in zip(batched, rows, strict=True):
        assert torch.equal(output, network(row[None])[0])


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 20])
def test_a_row_s_result_of_a_convolution_does_not_depend_on_the_other_rows(rows: int) -> None:
    planar = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 8, 1), nn.Conv2d(8, 8, 3, 2, 1))
    volumetric = nn.Sequential(nn.Conv3d(8, 16, (3, 1, 1), padding=(1, 0, 0)), nn.SiLU(), nn.Conv3d(16, 8, 3))
    for network, shape in ((planar, (8, 6, 6)), (volumetric, (8, 4, 6, 6))):
        inputs = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0))
        before = network(inputs)
        make_batch_invariant(network)
        batched = network(inputs)
        assert torch.allclose(batched, before, atol=1e-5)
        for output, row in zip(batched, inputs, strict=True):
            assert torch.equal(output, network(row[None])[0])


def test_weights_and_their_names_and_results_of_other_inputs_do_not_change() -> None:
    network = nn.Sequential(nn.Linear(8, 4))
    before, tokens = dict(network.state_dict()), torch.randn(2, 3, 8)
    expected = network(tokens)
    make_batch_invariant(network)
    assert torch.equal(network(tokens), expected)
    assert all(torch.equal(before[name], weights) for name, weights in network.state_dict().items())
