"""The training data of the vocoder."""

from __future__ import annotations

from motet.training.nano.recipes.vocoder import is_held_out_note


def test_only_notes_of_held_out_combinations_are_held_out() -> None:
    assert is_held_out_note("piano", 45)
    assert not is_held_out_note("piano", 52)
    assert not is_held_out_note("piano", 62)
    instruments = ("piano", "music box")
    assert sum(is_held_out_note(instrument, note) for instrument in instruments for note in range(45, 84)) == 5
