"""Tests of the signal parser: complete runs, broken runs and arbitrary ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.core.errors import BundleError
from motet.core.signals import Grammar, Run, RunBroken, RunComplete, RunStarted, SignalEvent, SignalParser, TextToken

GRAMMAR = Grammar.from_lengths(100, {"sight": 4, "motion": 3, "tone": 1})
SIGHT, MOTION, TONE = (list(run.ids) for run in GRAMMAR.runs)
SIGHT_RUN = GRAMMAR.run_of("sight")


def parse(*tokens: int) -> list[SignalEvent]:
    parser = SignalParser(GRAMMAR)
    return [event for token in tokens for event in parser.feed(token)] + parser.close()


def test_the_ids_of_the_runs_are_consecutive_in_the_order_of_the_lengths() -> None:
    assert [list(run.ids) for run in GRAMMAR.runs] == [[100, 101, 102, 103], [104, 105, 106], [107]]


def test_a_complete_run_between_text_is_one_request() -> None:
    assert parse(7, *SIGHT, 8) == [TextToken(7), RunStarted("sight"), RunComplete("sight"), TextToken(8)]


def test_a_run_of_one_token_starts_and_completes_at_once() -> None:
    assert parse(*TONE) == [RunStarted("tone"), RunComplete("tone")]


def test_two_consecutive_runs_are_two_requests() -> None:
    assert parse(*SIGHT, *SIGHT) == [RunStarted("sight"), RunComplete("sight")] * 2


def test_a_run_interrupted_by_text_is_broken_and_the_text_is_kept() -> None:
    assert parse(*SIGHT[:2], 7) == [RunStarted("sight"), RunBroken(SIGHT_RUN, 2), TextToken(7)]


def test_a_run_interrupted_by_another_run_is_broken_and_the_other_run_is_complete() -> None:
    assert parse(SIGHT[0], *MOTION) == [
        RunStarted("sight"),
        RunBroken(SIGHT_RUN, 1),
        RunStarted("motion"),
        RunComplete("motion"),
    ]


def test_a_run_that_restarts_is_broken_once_and_then_complete() -> None:
    assert parse(SIGHT[0], *SIGHT) == [
        RunStarted("sight"),
        RunBroken(SIGHT_RUN, 1),
        RunStarted("sight"),
        RunComplete("sight"),
    ]


def test_a_run_that_is_open_at_the_end_is_broken() -> None:
    assert parse(*SIGHT[:3]) == [RunStarted("sight"), RunBroken(SIGHT_RUN, 3)]


def test_a_token_from_the_middle_of_a_run_that_has_not_started_is_a_broken_run() -> None:
    assert parse(SIGHT[2]) == [RunBroken(SIGHT_RUN, 0)]


def test_the_message_of_a_broken_run_names_the_number_and_the_spelling_of_its_tokens() -> None:
    broken = RunBroken(Run("sight", 100, 4, "[IMG{i}]"), 2)

    assert broken.message == "the model wrote 2 of the 4 tokens [IMG0] to [IMG3], which request sight"


@given(st.lists(st.integers(95, 112), max_size=60))
def test_for_arbitrary_ids_every_run_that_starts_ends_exactly_once(tokens: list[int]) -> None:
    events = parse(*tokens)
    open_runs = 0
    for event in events:
        match event:
            case RunStarted():
                assert open_runs == 0
                open_runs = 1
            case RunComplete():
                assert open_runs == 1
                open_runs = 0
            case RunBroken(seen=seen) if seen:
                assert open_runs == 1
                open_runs = 0
            case _:
                assert open_runs == 0
    assert open_runs == 0
    assert [event.token for event in events if isinstance(event, TextToken)] == [
        token for token in tokens if GRAMMAR.run_containing(token) is None
    ]


def test_two_runs_must_not_share_a_token() -> None:
    with pytest.raises(BundleError, match="token id 12 is in the signal runs of both 'a' and 'b'"):
        Grammar((Run("a", 10, 3, "[a{i}]"), Run("b", 12, 2, "[b{i}]")))


def test_a_run_needs_a_token() -> None:
    with pytest.raises(BundleError, match="at least one token"):
        Grammar((Run("a", 10, 0, "[a{i}]"),))


def test_a_grammar_finds_its_runs_by_modality() -> None:
    assert GRAMMAR.run_of("motion") == Run("motion", 104, 3, "[motion{i}]")
    with pytest.raises(KeyError):
        GRAMMAR.run_of("smell")
