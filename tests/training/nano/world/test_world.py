"""The held-out things and the unbiased things of the nano world."""

from __future__ import annotations

import pytest

from motet.training.nano.world.world import ANY, MODALITIES, MOVERS, Thing, held_out, things, unbiased_things


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_unbiased_thing_is_held_out(modality: str) -> None:
    assert unbiased_things(modality)
    assert not any(map(held_out, unbiased_things(modality)))


def test_unbiased_sounds_are_all_sounds_of_instruments_without_a_held_out_register() -> None:
    biased = {thing.subject for thing in things("audio") if held_out(thing)}

    assert {thing.subject for thing in unbiased_things("audio")} == {
        thing.subject for thing in things("audio")
    } - biased


def test_unbiased_clips_show_nouns_outside_the_movers() -> None:
    assert not {thing.subject for thing in unbiased_things("video")} & set(MOVERS)


def test_a_caption_omits_an_attribute_that_is_any() -> None:
    assert Thing("audio", "harp", ANY).caption == "a harp"
    assert Thing("audio", ANY, "low").caption == "a low note on a thing"
    assert Thing("video", ANY, "turning").caption == "a thing turning"
