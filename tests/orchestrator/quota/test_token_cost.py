"""The tokens that an answer costs, at its end and if it is interrupted."""

from __future__ import annotations

from motet.core.tensors import Tensor
from motet.core.workers import Embedding, Finished, LanguageEvent, Prompt, TextPiece, Turn
from orchestrator.quota.token_cost import TokenCost

EMBEDDING = Embedding("a", Tensor("uint8", (1,), b"a"))


def cost_of(text: str, *events: LanguageEvent, max_tokens: int = 1000, computing: bool = False) -> int:
    """Return the tokens of an answer to a text and a medium, after these events."""
    cost = TokenCost(Prompt((Turn("user", (text, EMBEDDING)), Turn("assistant", ("four",)))), max_tokens)
    for event in events:
        cost.add(event)
    cost.computing = computing
    return cost.tokens


def test_an_answer_that_ended_costs_what_the_model_reports() -> None:
    assert cost_of("a" * 400, TextPiece("a"), Finished("stop", 30, 12)) == 42


def test_an_interrupted_answer_costs_its_events_and_its_prompt() -> None:
    assert cost_of("a" * 400, TextPiece("a"), TextPiece("b")) == 2 + 400 // 4 + 1 + 1
    assert cost_of("\u00e9" * 400, TextPiece("a")) == 1 + 800 // 4 + 1 + 1


def test_the_prompt_of_an_interrupted_answer_costs_at_most_what_the_model_reads() -> None:
    assert cost_of("a" * 10**6, TextPiece("a")) == 1001


def test_an_answer_that_is_given_up_while_a_model_computes_costs_its_prompt() -> None:
    assert cost_of("a" * 400, computing=True) == 400 // 4 + 1 + 1


def test_an_answer_without_an_event_costs_nothing_because_it_may_have_waited_only() -> None:
    assert cost_of("a" * 400) == 0
