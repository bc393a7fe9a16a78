from motet.core.signals import Grammar
from motet.models.llm.token_mask import token_mask


def test_every_control_token_is_excluded_except_the_first_token_of_each_run() -> None:
    mask = token_mask(Grammar.from_lengths(8, {"image": 2, "audio": 3}), 6, bos_token_id=0, vocabulary_size=13)

    assert mask.nonzero().flatten().tolist() == [0, 6, 7, 9, 11, 12]
