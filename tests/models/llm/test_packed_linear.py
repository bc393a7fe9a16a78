"""Linear maps that are multiplied as one."""

import pytest
import torch
from torch import Tensor, nn

from motet.models.llm.packed_linear import PackedLinear


def maps(bias: bool, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(24, out, bias=bias, dtype=dtype).requires_grad_(False) for out in (40, 8)]


def apart(each: list[nn.Linear], vectors: Tensor) -> Tensor:
    return torch.cat([one(vectors) for one in each], dim=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_maps_as_one_say_what_they_say_apart(bias: bool, dtype: torch.dtype) -> None:
    each = maps(bias, dtype)
    vectors = torch.randn(5, 24, dtype=dtype)
    expected = apart(each, vectors)

    torch.testing.assert_close(PackedLinear(each)(vectors), expected)
    # The maps themselves go on to work.
    assert torch.equal(apart(each, vectors), expected)


def test_a_vector_becomes_the_same_whatever_is_beside_it() -> None:
    torch.manual_seed(1)
    joined, vectors = PackedLinear(maps(bias=True)), torch.randn(40, 24)
    whole = joined(vectors)

    for first in (0, 7):
        for count in range(4, 33):
            assert torch.equal(joined(vectors[first : first + count]), whole[first : first + count])


def test_weights_that_are_not_laid_out_anew_are_not_held_twice() -> None:
    each = maps(False, torch.bfloat16)
    joined = PackedLinear(each)
    each[1].weight.zero_()

    assert joined(torch.randn(5, 24, dtype=torch.bfloat16))[:, 40:].abs().max() == 0
