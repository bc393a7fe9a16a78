"""Rendered sounds of the nano world. Skipped if fluidsynth is not installed."""

from __future__ import annotations

import numpy as np

from motet.training.nano.world import sounds
from tests.training.nano.packages import needs_fluidsynth


@needs_fluidsynth
def test_an_instrument_plays_the_requested_notes() -> None:
    flute = sounds._render(73, [69, 57])
    assert len(flute) >= 2 * 4 * sounds.RATE
    for slot, hertz in enumerate((440, 220)):
        tone = flute[slot * 4 * sounds.RATE + 4000 :][:16000]
        spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
        assert spectrum[hertz - 8 : hertz + 9].max() > 0.3 * spectrum.max()
    assert np.abs(flute[3 * sounds.RATE : 4 * sounds.RATE]).max() < 0.01
