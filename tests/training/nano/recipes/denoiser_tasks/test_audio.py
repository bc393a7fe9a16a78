"""The captions of the sound denoiser's training data."""

from __future__ import annotations

from motet.training.nano.recipes.denoiser_tasks.audio import captions_between_registers
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import held_out, things


def test_no_caption_of_a_note_between_registers_is_a_held_out_one() -> None:
    excluded = [thing.caption for thing in things("audio") if held_out(thing)]
    captions = [caption for note in (50, 61, 67, 78) for caption in captions_between_registers("piano", note)]
    excluded_vectors = caption_encoder.encode("audio", excluded)[:, 0]
    vectors = caption_encoder.encode("audio", captions)[:, 0]
    assert (vectors @ excluded_vectors.T).max() < 0.98
    assert captions_between_registers("piano", 50)[1] == "low low low middle piano piano piano piano"
