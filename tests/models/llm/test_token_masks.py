import torch

from motet.core.signals import Grammar
from motet.models.llm.token_masks import TokenMasks

MASKS = TokenMasks(
    Grammar.from_lengths(8, {"image": 2, "audio": 3}), first_control=6, bos_token_id=0, device=torch.device("cpu")
)


def test_every_control_token_is_excluded_except_the_first_token_of_an_allowed_run() -> None:
    assert MASKS.mask_for(frozenset(), 13).nonzero().flatten().tolist() == [0, 6, 7, 8, 9, 10, 11, 12]
    assert MASKS.mask_for(frozenset({"audio"}), 13).nonzero().flatten().tolist() == [0, 6, 7, 8, 9, 11, 12]


def test_a_mask_is_created_once() -> None:
    assert MASKS.mask_for(frozenset({"image"}), 13) is MASKS.mask_for(frozenset({"image"}), 13)
