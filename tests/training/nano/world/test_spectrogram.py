"""Log-mel spectrograms."""

from __future__ import annotations

import math

import pytest
import torch

from motet.training.nano.world import spectrogram
from motet.training.nano.world.sounds import RATE, SAMPLES, frequency


def tone(hertz: float) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(SAMPLES) / RATE)[None]


def test_a_sound_of_1920_milliseconds_has_192_frames_of_64_bands() -> None:
    assert spectrogram.log_mel(tone(440)).shape == (1, 192, 64)


def test_a_higher_tone_is_loudest_in_a_higher_band() -> None:
    loudest = [spectrogram.log_mel(tone(hertz))[0, 96].argmax().item() for hertz in (110, 440, 1760, 7000)]
    assert loudest == sorted(set(loudest))


def test_silence_is_the_minimum_and_half_the_amplitude_reduces_the_value_by_the_logarithm_of_two() -> None:
    assert spectrogram.log_mel(torch.zeros(1, SAMPLES)).max().item() == pytest.approx(-11.5, abs=2)
    whole, half = spectrogram.log_mel(tone(440))[0, 96], spectrogram.log_mel(0.5 * tone(440))[0, 96]
    assert (whole - half)[whole.argmax()].item() == pytest.approx(math.log(2), abs=1e-3)


def test_midi_notes_are_equally_tempered() -> None:
    assert frequency(69) == 440
    assert frequency(57) == pytest.approx(220)
    assert frequency(60) == pytest.approx(261.63, abs=0.01)
