"""One request, from prompt to parts."""

from motet.core.events import State
from tests.orchestrator.stage import ending, modalities, perform, run_of, script_of, stage, text_of


async def test_text_and_media_come_as_parts_in_one_order():
    script = script_of("An a. ", run_of("a"), "And a b: ", run_of("b"), run_of("a"), " Done.")

    events = await perform(stage(script))

    assert modalities(events) == ["text", "a", "text", "b", "a", "text"]
    assert text_of(events) == "An a. And a b:  Done."
    assert ending(events).state is State.SUCCEEDED
