"""What the nano world keeps back, and what it learns from instead."""

from __future__ import annotations

import pytest

from motet.training.nano.world.world import ANY, MODALITIES, MOVERS, Thing, held_out, impartial, things


@pytest.mark.parametrize("modality", MODALITIES)
def test_nothing_impartial_is_held_out(modality: str) -> None:
    assert impartial(modality)
    assert not any(map(held_out, impartial(modality)))


def test_an_impartial_sound_is_of_an_instrument_that_lacks_no_register() -> None:
    lacking = {thing.subject for thing in things("audio") if held_out(thing)}

    assert {thing.subject for thing in impartial("audio")} == {thing.subject for thing in things("audio")} - lacking


def test_an_impartial_clip_is_of_a_noun_that_no_clip_of_the_world_shows() -> None:
    assert not {thing.subject for thing in impartial("video")} & set(MOVERS)


def test_a_caption_leaves_out_what_is_not_of_interest() -> None:
    assert Thing("audio", "harp", ANY).caption == "a harp"
    assert Thing("audio", ANY, "low").caption == "a low note on a thing"
    assert Thing("video", ANY, "turning").caption == "a thing turning"
