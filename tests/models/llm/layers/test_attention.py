import pytest
import torch

from motet.models.llm.layers.attention import PackedAttention, TokenRange, causal_mask
from motet.models.llm.layers.kv_cache import KvCache

CPU = torch.device("cpu")
MASK = causal_mask(8, 64, torch.float32, CPU)
SCALE = 0.5


def random_cache() -> KvCache:
    """Return a cache of two layers with two heads, filled with random numbers."""
    cache = KvCache((2, 2, 4), 128, torch.float32, CPU)
    cache.memory.normal_()
    return cache


def expected(queries: torch.Tensor, memory: torch.Tensor, tokens: TokenRange) -> torch.Tensor:
    """Compute attention by its definition: each token attends to itself and to the tokens before it."""
    rows = []
    group = queries.shape[1] // memory.shape[1]
    for i in range(tokens.count):
        keys, values = memory[:, :, tokens.base : tokens.base + tokens.start + i + 1].repeat_interleave(group, dim=1)
        weights = torch.softmax((keys @ queries[i][:, :, None]).squeeze(2) * SCALE, dim=1)
        rows.append((weights[:, :, None] * values).sum(dim=1))
    return torch.stack(rows).flatten(1)


@pytest.mark.parametrize("gather", [False, True])
@pytest.mark.parametrize("heads", [2, 4])
def test_every_token_attends_to_earlier_tokens_of_its_own_sequence_only(gather: bool, heads: int) -> None:
    torch.manual_seed(0)
    ranges = [TokenRange(0, 5, 1), TokenRange(40, 0, 8), TokenRange(60, 30, 1), TokenRange(20, 9, 3)]
    queries, cache = torch.randn(13, heads, 4), random_cache()
    attend = PackedAttention(ranges, cache, MASK, SCALE, gather)

    for layer in (0, 1):
        split = queries.split([tokens.count for tokens in ranges])
        parts = [expected(part, cache.memory[layer], tokens) for part, tokens in zip(split, ranges, strict=True)]
        torch.testing.assert_close(attend(layer, queries), torch.cat(parts))


def test_the_result_for_a_token_does_not_depend_on_other_sequences() -> None:
    torch.manual_seed(1)
    queries, cache = torch.randn(3, 2, 4), random_cache()
    alone = PackedAttention([TokenRange(40, 7, 1)], cache, MASK, SCALE, False)(0, queries[1:2])
    batched = PackedAttention(
        [TokenRange(0, 50, 1), TokenRange(40, 7, 1), TokenRange(100, 3, 1)], cache, MASK, SCALE, False
    )(0, queries)

    assert torch.equal(alone[0], batched[1])
