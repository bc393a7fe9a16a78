"""Random language models, random failures, random requests: the grammar of events always holds."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from hypothesis import given, reject, settings
from hypothesis import strategies as st

from motet.core.errors import DeadlineError, FaultError, OverloadedError, Reason, RequestError, RetryableError
from motet.core.events import PartStarted, State
from motet.core.media import Media
from motet.core.request import FailurePolicy
from motet.core.workers import Finished, Signal, SignalBroken, SignalStarted, TextPiece
from motet.toys.workers import Pause, ToyDecoder, ToyLanguageModel, Trouble, tensor_of
from tests.orchestrator.grammar import check
from tests.orchestrator.stage import (
    MANIFEST,
    ask,
    ending,
    modalities,
    nothing_left_behind,
    said,
    settled,
    stage,
    text_of,
)

CONDITIONING = tensor_of(b"", (4,))
TINY = 0.0005

errors = st.sampled_from(
    [
        FaultError("fault"),
        RetryableError("gone", Reason.WORKER_LOST),
        OverloadedError("busy", retry_after=TINY),
        RequestError("no", Reason.CONDITIONING_INVALID),
        DeadlineError("late"),
    ]
)
names = st.sampled_from(["a", "b", "z", "text"])
text = st.text(max_size=6)
anything = st.one_of(
    st.builds(TextPiece, text),
    st.builds(SignalStarted, names),
    st.builds(Signal, names, st.just(CONDITIONING)),
    st.builds(SignalBroken, names, st.just("broken")),
    st.builds(Finished, st.just("stop"), st.integers(0, 9), st.integers(0, 9)),
    st.just(Pause(TINY)),
    errors,
)
tokens = st.one_of(
    st.integers(97, 122), *(st.sampled_from(list(MANIFEST.grammar.run_of(name).ids)) for name in "ab"), errors
)
troubles = st.one_of(
    st.none(),
    st.builds(
        Trouble,
        st.one_of(errors, st.just(Pause()), st.just(Pause(TINY))),
        st.integers(0, 2),
        st.sampled_from([None, 1]),
    ),
)
requests = st.fixed_dictionaries(
    {
        "failure_policy": st.sampled_from(FailurePolicy),
        "allowed_modalities": st.sampled_from([None, frozenset(), frozenset("a"), frozenset("ab")]),
        "max_parts": st.sampled_from([{}, {"a": 0}, {"a": 1, "b": 2}]),
        "previews": st.booleans(),
        "timeout": st.sampled_from([0.002, 0.05, 1.0]),
    }
)


class Wild:
    """A language model that says anything, in any order."""

    def __init__(self, events):
        self.events = events

    async def generate(self, prompt, deadline):
        for event in self.events:
            match event:
                case Pause():
                    await event.passes(deadline, "being wild")
                case Exception():
                    raise event
                case _:
                    yield event


def theatre(model, *troubled):
    made = {
        name: ToyDecoder(name, media_type=f"x/{name}", delay=TINY, trouble=trouble)
        for name, trouble in zip("ab", troubled, strict=True)
    }
    return made, stage(model, made, step_timeout=0.02, max_parts=6, max_refusals=4, deadline_margin=0.001)


async def heard_of(orchestrator, request, turns=None):
    """Its events; where `turns` is given, it is cancelled after so many turns of the event loop."""
    async with nothing_left_behind():
        async with aclosing(orchestrator.generate(request)) as events:
            try:
                heard = [await anext(events)]
            except DeadlineError:
                reject()  # The shortest timeout may pass before the admission on a busy machine.
            if turns is not None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await orchestrator.cancel(heard[0].payload.generation)
            heard += [event async for event in events]
        await settled(orchestrator)
    return heard


@settings(max_examples=150, deadline=None)
@given(st.lists(anything, max_size=14), troubles, troubles, requests)
async def test_a_model_that_says_anything_in_any_order_never_breaks_the_grammar(events, a, b, options):
    made, orchestrator = theatre(Wild(events), a, b)

    heard = await heard_of(orchestrator, ask("x", Media("x/a", b"a"), **options))

    check(heard)
    allowed = options["allowed_modalities"]
    for name, decoder in made.items():
        ceiling = options["max_parts"].get(name, 9) if allowed is None or name in allowed else 0
        assert len({job.seed for job in decoder.seen}) <= ceiling
        assert decoder.running == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(tokens, max_size=40), troubles, troubles, requests, st.integers(0, 120))
async def test_a_generation_that_is_cancelled_at_any_turn_never_breaks_the_grammar(script, a, b, options, turns):
    made, orchestrator = theatre(ToyLanguageModel(MANIFEST.grammar, script), a, b)

    heard = await heard_of(orchestrator, ask(**options), turns)

    check(heard)
    assert all(decoder.running == 0 for decoder in made.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(text.filter(bool), st.sampled_from(["<a>", "<b>"])), max_size=8))
async def test_what_a_model_writes_arrives_whole_and_in_its_order(pieces):
    runs = {f"<{name}>": list(MANIFEST.grammar.run_of(name).ids) for name in "ab"}
    events = [Signal(piece[1], CONDITIONING) if piece in runs else TextPiece(piece) for piece in pieces]
    _, orchestrator = theatre(Wild([*events, Finished("stop", 1, 1)]), None, None)

    heard = await heard_of(orchestrator, ask())

    check(heard)
    refused = {part.part_id for part in ending(heard).failures}
    assert text_of(heard) == "".join(piece for piece in pieces if piece not in runs)
    assert [name for name in modalities(heard) if name != "text"] == [piece[1] for piece in pieces if piece in runs]
    anchors = {part.index: part.text_anchor for part in said(heard, PartStarted)}
    assert list(anchors.values()) == sorted(anchors.values())
    if not refused and text_of(heard).strip():
        assert ending(heard).state is State.SUCCEEDED
