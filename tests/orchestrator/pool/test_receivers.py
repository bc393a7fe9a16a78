"""Tests of the receivers: continued answers, and items that no worker may send."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.core.deadline import Deadline
from motet.core.errors import FaultError, Reason, RetryableError
from motet.core.media import MAX_MEDIA_BYTES, Media
from motet.core.tensors import Tensor
from motet.core.workers import Finished, Progress, Prompt, Signal, SignalBroken, SignalStarted, TextPiece, Turn
from motet.toys.workers import ToyLanguageModel, grammar_of, tensor_of
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.queued_call import QueuedCall
from orchestrator.pool.receivers import DecodeReceiver, EncodeReceiver, LanguageReceiver
from orchestrator.pool.workers import PooledLanguageModel
from orchestrator.settings import OrchestratorSettings
from tests.orchestrator.pool_harness import LOST
from tests.waiting import in_virtual_time

PROMPT = Prompt((Turn("user", ("hi",)),), ceilings={"a": 1}, seed=5)
GRAMMAR = grammar_of("a")
ANSWER = [*map(ord, "An a: "), *GRAMMAR.run_of("a").ids, *map(ord, " and more")]


async def events_of(*models):
    """Return the events of a pool of language models."""
    pool = Pool("language model", [Member(model) for model in models], OrchestratorSettings())
    return [event async for event in PooledLanguageModel(pool).generate(PROMPT, Deadline.never())]


@pytest.mark.parametrize("tokens", range(len(ANSWER) + 1))
@in_virtual_time
async def test_an_answer_whose_language_model_dies_is_continued_by_another_one_to_the_same_events(tokens):
    dying = ToyLanguageModel(GRAMMAR, [*ANSWER[:tokens], LOST])
    other = ToyLanguageModel(GRAMMAR, ANSWER)

    assert await events_of(dying, other) == await events_of(ToyLanguageModel(GRAMMAR, ANSWER))
    assert len(other.seen) == 1


@in_virtual_time
async def test_an_answer_is_not_continued_by_another_answer():
    for text in ("x", "An b", "A"):
        dying = ToyLanguageModel(GRAMMAR, [*ANSWER[:12], LOST])
        with pytest.raises(RetryableError, match="wrote another answer") as caught:
            await events_of(dying, ToyLanguageModel(GRAMMAR, list(map(ord, text)) + ANSWER[6:]))
        assert caught.value.reason is Reason.WORKER_LOST


@in_virtual_time
async def test_an_answer_is_not_repeated_at_the_only_language_model_that_failed():
    model = ToyLanguageModel(GRAMMAR, [ord("x"), LOST])
    with pytest.raises(RetryableError, match="gone"):
        await events_of(model)

    assert len(model.seen) == 1


def pieces_of(text, borders):
    """Return a text as pieces that end at some positions."""
    ends = sorted({border % (len(text) + 1) for border in borders} | {len(text)})
    return [TextPiece(text[start:end]) for start, end in zip([0, *ends], ends, strict=False) if end > start]


@given(st.text(max_size=20), st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20)), st.integers(0, 20))
def test_the_borders_of_repeated_text_pieces_may_differ(text, borders, other_borders, received):
    receiver = LanguageReceiver(100)
    passed = []
    for pieces in (pieces_of(text, borders)[:received], pieces_of(text, other_borders)):
        receiver.restart()
        passed += [event for event in map(receiver.receive, pieces) if event is not None]

    assert "".join(piece.text for piece in passed) == text


@pytest.mark.parametrize(
    "event",
    [
        Finished("stop", -1, 1),
        Finished("stop", 1, -1),
        Finished("stop", 1, 1, omitted_turns=-1),
        SignalStarted("m" * 65),
        Signal("m" * 65, tensor_of(b"", (1,))),
        SignalBroken("a", "m" * 1001),
    ],
)
def test_an_impossible_event_of_a_language_model_is_a_fault(event):
    receiver = LanguageReceiver(100)
    receiver.restart()

    with pytest.raises(FaultError):
        receiver.receive(event)
    assert not receiver.complete


def test_the_events_of_a_language_model_are_bounded_by_its_tokens():
    receiver = LanguageReceiver(10)
    receiver.restart()

    for _ in range(44):
        receiver.receive(TextPiece(""))
    with pytest.raises(FaultError, match="more than 44 events"):
        receiver.receive(TextPiece(""))


@pytest.mark.parametrize(
    "progress",
    [Progress(2, 5), Progress(6, 5), Progress(3, 2), Progress(3, 10**6), Progress(float("nan"), 5), Progress(-1, -1)],
)
def test_impossible_progress_is_a_fault(progress):
    call = QueuedCall("", 0, 5.0, 1.0, 0.0)
    receiver = DecodeReceiver(call, "a")
    receiver.restart()
    receiver.receive(Progress(2, 5))

    with pytest.raises(FaultError, match=r"the decoder of a reported step"):
        receiver.receive(progress)
    assert (call.units, call.done) == (5, 2), "the pool counts no impossible work"


def test_the_previews_of_a_job_are_bounded():
    receiver = DecodeReceiver(QueuedCall("", 0, 5.0, 1.0, 0.0), "a")
    receiver.restart()
    preview = Media("x/a", bytes(MAX_MEDIA_BYTES // 8))

    for step in range(1, 9):
        receiver.receive(Progress(step, 20, preview))
    with pytest.raises(FaultError, match="previews of a"):
        receiver.receive(Progress(9, 20, preview))
    receiver.restart()
    receiver.receive(Progress(1, 20, preview))


def test_an_embedding_that_is_not_finite_is_a_fault_of_the_encoder():
    receiver = EncodeReceiver()
    receiver.restart()

    with pytest.raises(FaultError, match="an embedding holds values that are not finite"):
        receiver.receive([Tensor("float32", (1,), struct.pack("<f", float("nan")))])
    assert not receiver.complete
