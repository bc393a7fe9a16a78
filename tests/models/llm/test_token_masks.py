import torch

from motet.core.signals import Grammar
from motet.models.llm.token_masks import TokenMasks

MASKS = TokenMasks(
    Grammar.following(8, {"image": 2, "audio": 3}), first_control=6, beginning=0, device=torch.device("cpu")
)


def test_no_control_token_may_come_but_the_first_of_a_run_that_is_allowed() -> None:
    assert MASKS.hiding_all_but(frozenset(), 13).nonzero().flatten().tolist() == [0, 6, 7, 8, 9, 10, 11, 12]
    assert MASKS.hiding_all_but(frozenset({"audio"}), 13).nonzero().flatten().tolist() == [0, 6, 7, 8, 9, 11, 12]


def test_a_mask_is_made_once() -> None:
    assert MASKS.hiding_all_but(frozenset({"image"}), 13) is MASKS.hiding_all_but(frozenset({"image"}), 13)
