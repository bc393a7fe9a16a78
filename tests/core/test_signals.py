"""The signal parser: whole runs, broken runs, and whatever else a model may write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.core.errors import BundleError
from motet.core.signals import Grammar, Run, RunBroken, RunComplete, RunStarted, SignalEvent, SignalParser, TextToken

GRAMMAR = Grammar.following(100, {"sight": 4, "motion": 3, "tone": 1})
SIGHT, MOTION, TONE = (list(run.ids) for run in GRAMMAR.runs)


def parse(*tokens: int) -> list[SignalEvent]:
    parser = SignalParser(GRAMMAR)
    return [event for token in tokens for event in parser.feed(token)] + parser.close()


def test_runs_stand_one_after_the_other_in_the_order_given() -> None:
    assert [list(run.ids) for run in GRAMMAR.runs] == [[100, 101, 102, 103], [104, 105, 106], [107]]


def test_a_whole_run_between_text_is_one_request() -> None:
    assert parse(7, *SIGHT, 8) == [TextToken(7), RunStarted("sight"), RunComplete("sight"), TextToken(8)]


def test_a_run_of_one_token_starts_and_completes_at_once() -> None:
    assert parse(*TONE) == [RunStarted("tone"), RunComplete("tone")]


def test_two_runs_in_a_row_are_two_requests() -> None:
    assert parse(*SIGHT, *SIGHT) == [RunStarted("sight"), RunComplete("sight")] * 2


def test_a_run_cut_by_text_is_broken_and_the_text_survives() -> None:
    assert parse(*SIGHT[:2], 7) == [RunStarted("sight"), RunBroken("sight", 2, 4), TextToken(7)]


def test_a_run_cut_by_another_run_is_broken_and_the_other_is_whole() -> None:
    assert parse(SIGHT[0], *MOTION) == [
        RunStarted("sight"),
        RunBroken("sight", 1, 4),
        RunStarted("motion"),
        RunComplete("motion"),
    ]


def test_a_run_that_starts_over_is_broken_once_and_then_whole() -> None:
    assert parse(SIGHT[0], *SIGHT) == [
        RunStarted("sight"),
        RunBroken("sight", 1, 4),
        RunStarted("sight"),
        RunComplete("sight"),
    ]


def test_a_run_still_open_at_the_end_is_broken() -> None:
    assert parse(*SIGHT[:3]) == [RunStarted("sight"), RunBroken("sight", 3, 4)]


def test_a_token_from_the_middle_of_a_run_that_never_started_is_a_broken_run() -> None:
    assert parse(SIGHT[2]) == [RunBroken("sight", 0, 4)]


def test_a_broken_run_says_how_far_it_came() -> None:
    assert RunBroken("sight", 2, 4).message == "the model wrote 2 of the 4 tokens that ask for sight"


@given(st.lists(st.integers(95, 112), max_size=60))
def test_whatever_ids_come_every_run_that_starts_ends_exactly_once(tokens: list[int]) -> None:
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
        token for token in tokens if GRAMMAR.run_holding(token) is None
    ]


def test_two_runs_may_not_share_a_token() -> None:
    with pytest.raises(BundleError, match="token id 12 is in the signal runs of both 'a' and 'b'"):
        Grammar((Run("a", 10, 3), Run("b", 12, 2)))


def test_a_run_needs_a_token() -> None:
    with pytest.raises(BundleError, match="at least one token"):
        Grammar((Run("a", 10, 0),))


def test_a_grammar_knows_its_runs_by_modality() -> None:
    assert GRAMMAR.run_of("motion") == Run("motion", 104, 3)
    with pytest.raises(KeyError):
        GRAMMAR.run_of("smell")
