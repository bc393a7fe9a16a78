import pytest
import torch

from motet.models.attention import Attention, Place, causal_mask

CPU = torch.device("cpu")
MASK = causal_mask(8, 64, torch.float32, CPU)
SCALE = 0.5


def expected(queries: torch.Tensor, memory: torch.Tensor, place: Place) -> torch.Tensor:
    """The definition: each token sees what stands before it, and itself."""
    rows = []
    group = queries.shape[1] // memory.shape[1]
    for i in range(place.count):
        known = memory[:, :, place.base : place.base + place.start + i + 1].repeat_interleave(group, dim=1)
        weights = torch.softmax((known[0] @ queries[i][:, :, None]).squeeze(2) * SCALE, dim=1)
        rows.append((weights[:, :, None] * known[1]).sum(dim=1))
    return torch.stack(rows)


@pytest.mark.parametrize("gather", [False, True])
@pytest.mark.parametrize("heads", [2, 4])
def test_every_token_sees_its_own_past_and_nothing_else(gather: bool, heads: int) -> None:
    torch.manual_seed(0)
    places = [Place(0, 5, 1), Place(40, 0, 8), Place(60, 30, 1), Place(20, 9, 3)]
    queries, memory = torch.randn(14, heads, 4), torch.randn(2, 2, 128, 4)
    # Row 13 belongs to nobody.
    found = Attention(places, MASK, SCALE, gather)(queries, memory)

    row = 0
    for place in places:
        part = slice(row, row + place.count)
        torch.testing.assert_close(found[part], expected(queries[part], memory, place))
        row += place.count
    assert found[13].abs().max() == 0


def test_a_token_attends_alike_whoever_else_is_in_the_pass() -> None:
    torch.manual_seed(1)
    queries, memory = torch.randn(3, 2, 4), torch.randn(2, 2, 128, 4)
    alone = Attention([Place(40, 7, 1)], MASK, SCALE, False)(queries[1:2], memory)
    beside = Attention([Place(0, 50, 1), Place(40, 7, 1), Place(100, 3, 1)], MASK, SCALE, False)(queries, memory)

    assert torch.equal(alone[0], beside[1])
