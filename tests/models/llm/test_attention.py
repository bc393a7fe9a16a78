import pytest
import torch

from motet.models.llm.attention import PackedAttention, TokenRange, causal_mask
from motet.models.llm.kv_cache import KvCache

CPU = torch.device("cpu")
MASK = causal_mask(8, 64, torch.float32, CPU)
SCALE = 0.5


def filled() -> KvCache:
    """Two layers' memory of two heads, full of noise."""
    cache = KvCache((2, 2, 4), 128, torch.float32, CPU)
    cache.memory.normal_()
    return cache


def expected(queries: torch.Tensor, memory: torch.Tensor, place: TokenRange) -> torch.Tensor:
    """The definition: each token sees what stands before it, and itself."""
    rows = []
    group = queries.shape[1] // memory.shape[1]
    for i in range(place.count):
        known = memory[:, :, place.base : place.base + place.start + i + 1].repeat_interleave(group, dim=1)
        weights = torch.softmax((known[0] @ queries[i][:, :, None]).squeeze(2) * SCALE, dim=1)
        rows.append((weights[:, :, None] * known[1]).sum(dim=1))
    return torch.stack(rows).flatten(1)


@pytest.mark.parametrize("gather", [False, True])
@pytest.mark.parametrize("heads", [2, 4])
def test_every_token_sees_its_own_past_and_nothing_else(gather: bool, heads: int) -> None:
    torch.manual_seed(0)
    places = [TokenRange(0, 5, 1), TokenRange(40, 0, 8), TokenRange(60, 30, 1), TokenRange(20, 9, 3)]
    queries, cache = torch.randn(13, heads, 4), filled()
    attend = PackedAttention(places, cache, MASK, SCALE, gather)

    for layer in (0, 1):
        asking = queries.split([place.count for place in places])
        parts = [expected(part, cache.memory[layer], place) for part, place in zip(asking, places, strict=True)]
        torch.testing.assert_close(attend(layer, queries), torch.cat(parts))


def test_a_token_attends_alike_whoever_else_is_in_the_pass() -> None:
    torch.manual_seed(1)
    queries, cache = torch.randn(3, 2, 4), filled()
    alone = PackedAttention([TokenRange(40, 7, 1)], cache, MASK, SCALE, False)(0, queries[1:2])
    beside = PackedAttention(
        [TokenRange(0, 50, 1), TokenRange(40, 7, 1), TokenRange(100, 3, 1)], cache, MASK, SCALE, False
    )(0, queries)

    assert torch.equal(alone[0], beside[1])
