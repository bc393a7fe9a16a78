"""Tests of linear layers that are packed into one."""

import pytest
import torch
from torch import Tensor, nn

from motet.models.llm.layers.packed_linear import PackedLinear


def layers_of(bias: bool, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(24, out, bias=bias, dtype=dtype).requires_grad_(False) for out in (40, 8)]


def separately(layers: list[nn.Linear], vectors: Tensor) -> Tensor:
    return torch.cat([layer(vectors) for layer in layers], dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_packed_layers_compute_what_the_separate_layers_compute(bias: bool, dtype: torch.dtype) -> None:
    layers = layers_of(bias, dtype)
    vectors = torch.randn(5, 24, dtype=dtype)
    expected = separately(layers, vectors)

    torch.testing.assert_close(PackedLinear(layers)(vectors), expected)
    # The original layers remain usable.
    assert torch.equal(separately(layers, vectors), expected)


def test_the_result_for_a_vector_does_not_depend_on_the_other_vectors() -> None:
    torch.manual_seed(1)
    packed, vectors = PackedLinear(layers_of(bias=True)), torch.randn(40, 24)
    whole = packed(vectors)

    for first in (0, 7):
        for count in range(4, 33):
            assert torch.equal(packed(vectors[first : first + count]), whole[first : first + count])


def test_weights_without_a_new_layout_are_in_memory_once() -> None:
    layers = layers_of(False, torch.bfloat16)
    packed = PackedLinear(layers)
    layers[1].weight.zero_()

    assert packed(torch.randn(5, 24, dtype=torch.bfloat16))[:, 40:].abs().max() == 0
