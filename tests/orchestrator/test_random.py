"""Property tests: the grammar of events holds for random language models, failures and requests."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from hypothesis import given, settings
from hypothesis import strategies as st

from motet.core.errors import DeadlineError, FaultError, OverloadedError, Reason, RequestError, RetryableError
from motet.core.events import PartStarted, State
from motet.core.media import Media
from motet.core.request import FailurePolicy
from motet.core.workers import Finished, Signal, SignalBroken, SignalStarted, SignalSuppressed, TextPiece
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyLanguageModel, tensor_of
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    modalities_of,
    no_tasks_left,
    orchestrator_of,
    payloads_of,
    record_of,
    request_of,
    text_of,
    wait_idle,
)
from tests.waiting import in_virtual_time

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
language_events = st.one_of(
    st.builds(TextPiece, text),
    st.builds(SignalStarted, names),
    st.builds(Signal, names, st.just(CONDITIONING)),
    st.builds(SignalBroken, names, st.just("broken")),
    st.builds(SignalSuppressed, names, st.sampled_from(["ceiling", "length"])),
    st.builds(Finished, st.sampled_from(["stop", "length"]), st.integers(0, 9), st.integers(0, 9)),
    st.just(Pause(TINY)),
    errors,
)
tokens = st.one_of(
    st.integers(97, 122), *(st.sampled_from(list(MANIFEST.grammar.run_of(name).ids)) for name in "ab"), errors
)
faults = st.one_of(
    st.none(),
    st.builds(
        InjectedFault,
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


class AnyLanguageModel:
    """A language model that yields any events in any order."""

    def __init__(self, events):
        self.events = events

    async def generate(self, prompt, deadline):
        for event in self.events:
            match event:
                case Pause():
                    await event.wait(deadline, "generating")
                case Exception():
                    raise event
                case _:
                    yield event


def deployment(model, *faults):
    """Return toy decoders with faults, and an orchestrator over them and the model."""
    decoders = {
        name: ToyDecoder(name, media_type=f"x/{name}", delay=TINY, fault=fault)
        for name, fault in zip("ab", faults, strict=True)
    }
    return decoders, orchestrator_of(
        model, decoders, media_job_timeout=0.02, max_parts=6, max_refused_signals=4, deadline_margin=0.001
    )


async def events_of(orchestrator, request, turns=None):
    """Return the events of a request, which is cancelled after `turns` turns of the event loop if they are given."""
    async with no_tasks_left():
        async with aclosing(orchestrator.generate(request)) as events:
            received = [await anext(events)]
            if turns is not None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await orchestrator.cancel(received[0].payload.generation)
            received += [event async for event in events]
        await wait_idle(orchestrator)
    return received


@settings(max_examples=150, deadline=None)
@given(st.lists(language_events, max_size=14), faults, faults, requests)
@in_virtual_time
async def test_no_order_of_language_events_breaks_the_grammar(events, a, b, options):
    decoders, orchestrator = deployment(AnyLanguageModel(events), a, b)

    received = await events_of(orchestrator, request_of("x", Media("x/a", b"a"), **options))

    check_events(received)
    allowed = options["allowed_modalities"]
    for name, decoder in decoders.items():
        ceiling = options["max_parts"].get(name, 9) if allowed is None or name in allowed else 0
        assert len({job.seed for job in decoder.seen}) <= ceiling
        assert decoder.running == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(tokens, max_size=40), faults, faults, requests, st.integers(0, 120))
@in_virtual_time
async def test_no_point_of_cancellation_breaks_the_grammar(script, a, b, options, turns):
    decoders, orchestrator = deployment(ToyLanguageModel(MANIFEST.grammar, script), a, b)

    received = await events_of(orchestrator, request_of(**options), turns)

    check_events(received)
    assert all(decoder.running == 0 for decoder in decoders.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(text.filter(bool), st.sampled_from(["<a>", "<b>"])), max_size=8))
@in_virtual_time
async def test_text_and_parts_arrive_complete_and_in_order(pieces):
    runs = {f"<{name}>": list(MANIFEST.grammar.run_of(name).ids) for name in "ab"}
    events = [Signal(piece[1], CONDITIONING) if piece in runs else TextPiece(piece) for piece in pieces]
    _, orchestrator = deployment(AnyLanguageModel([*events, Finished("stop", 1, 1)]), None, None)

    received = await events_of(orchestrator, request_of())

    check_events(received)
    refused = {part.part_id for part in record_of(received).failures}
    assert text_of(received) == "".join(piece for piece in pieces if piece not in runs)
    assert [name for name in modalities_of(received) if name != "text"] == [
        piece[1] for piece in pieces if piece in runs
    ]
    anchors = {part.index: part.text_anchor for part in payloads_of(received, PartStarted)}
    assert list(anchors.values()) == sorted(anchors.values())
    if not refused and text_of(received).strip():
        assert record_of(received).state is State.SUCCEEDED
