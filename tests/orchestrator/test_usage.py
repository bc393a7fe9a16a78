"""The usage of a generation: what its language model and its decoders counted."""

from motet.core.events import State, Usage
from motet.core.request import GenerationRequest, Message
from motet.core.workers import Finished, TextPiece
from motet.toys.workers import ToyLanguageModel
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    orchestrator_of,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
)
from tests.waiting import in_virtual_time

TWO_KINDS = script_of("An a and a b: ", signal_run("a"), signal_run("b"))


@in_virtual_time
async def test_usage_is_sent_after_the_language_model_and_at_the_end():
    model = ToyLanguageModel(MANIFEST.grammar, TWO_KINDS, delay=0.001)

    usages = payloads_of(await run_generation(orchestrator_of(model), request_of("hello")), Usage)

    assert [(usage.input_tokens, usage.output_tokens) for usage in usages] == [(5, len(TWO_KINDS))] * 2
    assert usages[-1].decoder_steps == 4
    assert usages[-1].elapsed >= usages[0].elapsed > 0


@in_virtual_time
async def test_the_usage_has_the_number_of_turns_that_the_model_did_not_read():
    class Forgetful:
        async def generate(self, prompt, deadline):
            yield TextPiece("ok")
            yield Finished("stop", 5, 1, omitted_turns=len(prompt.turns) - 1)

    turns = tuple(Message(role, ("hello",)) for role in ("user", "assistant", "user"))
    events = await run_generation(orchestrator_of(Forgetful()), GenerationRequest(turns))

    assert [usage.omitted_turns for usage in payloads_of(events, Usage)] == [2, 2]
    assert record_of(events).usage.omitted_turns == 2
    assert record_of(events).state is State.SUCCEEDED
