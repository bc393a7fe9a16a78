"""Sounds to learn hearing from: the nano world's notes, played roughly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from motet.models.fbank import RATE
from motet.models.towers import ImageBindConfig
from motet.models.views import mel_picture
from motet.training import sounds
from motet.training.roughen import Example, chosen
from motet.training.world import REGISTERS

Wave = NDArray[np.float32]
_SECONDS = 2.0


class SoundExamples:
    """Draws notes of all sounds that are (or are not) held out, as the audio tower takes them.

    Who has only met whole combinations tells instruments by them, and fails at those held out. So in practice
    instruments are told by notes outside the registers, which belong to no thing.
    """

    def __init__(self, config: ImageBindConfig, held_out: bool) -> None:
        self._config = config.audio
        self._things = chosen("audio", held_out)
        self._notes = notes()
        self._between = between() if not held_out else {}

    def draw(self, generator: np.random.Generator) -> Example:
        """One example, (1, bins, frames)."""
        thing = self._things[generator.integers(len(self._things))]
        choices, instrument, register = self._notes[thing.subject, thing.manner], thing.subject, thing.manner
        if self._between and generator.random() < 0.6:
            choices, register = self._between[thing.subject], ""
        elif self._between and generator.random() < 0.95:
            instrument = ""
        wave = rough_note(choices, generator)
        labels = {"instrument": instrument, "register": register}
        return Example(mel_picture(torch.from_numpy(wave), self._config), labels)


def notes() -> dict[tuple[str, str], list[Wave]]:
    """The rendered notes by instrument and register, 16 kHz mono."""
    grouped: dict[tuple[str, str], list[Wave]] = {}
    for (instrument, register, _), wave in sounds.load().items():
        grouped.setdefault((instrument, register), []).append(wave)
    return grouped


def between() -> dict[str, list[Wave]]:
    """The rendered notes that lie two semitones or more from every register, on either side, by instrument."""
    named = [note for span in REGISTERS.values() for note in span]
    grouped: dict[str, list[Wave]] = {}
    for (instrument, note), wave in sounds.load_scales().items():
        if min(abs(note - other) for other in named) >= 2:
            grouped.setdefault(instrument, []).append(wave)
    return grouped


def rough_note(choices: list[Wave], generator: np.random.Generator) -> Wave:
    """One of the notes, two seconds: its tuning, start, length, tone, loudness and noise are left to chance."""
    wave = choices[generator.integers(len(choices))]
    # Up to 60 cents off pitch: a decoder may miss the note a little, and registers are an octave apart.
    speed = 2 ** (generator.uniform(-0.6, 0.6) / 12)
    wave = np.interp(np.arange(0, len(wave) - 1, speed), np.arange(len(wave)), wave)
    wave = _toned(wave, generator)
    wave = _placed(wave, generator)
    loudest = generator.uniform(0.08, 1.0)
    wave = wave * (loudest / max(float(np.abs(wave).max()), 1e-6))
    noise = loudest * 10 ** (-generator.uniform(15, 60) / 20)
    return (wave + noise * generator.standard_normal(len(wave)) * 0.3).astype(np.float32)


def _toned(wave: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.floating]:
    """The wave through a smooth chance equaliser of a few dB, and sometimes a low-pass."""
    bands = np.linspace(0, 1, 7)
    decibels = generator.normal(0, 3, len(bands))
    if generator.random() < 0.2:
        decibels -= np.clip(bands - generator.uniform(0.3, 1), 0, 1) * 60
    # Padded to a power of two: the transform of a length with large prime factors takes ten times as long.
    spectrum = np.fft.rfft(wave, 1 << (len(wave) - 1).bit_length())
    gains = 10 ** (np.interp(np.linspace(0, 1, len(spectrum)), bands, decibels) / 20)
    return np.fft.irfft(spectrum * gains)[: len(wave)]


def _placed(wave: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.floating]:
    """The wave started late or cut early, in two seconds."""
    length = int(_SECONDS * RATE)
    room = np.zeros(length)
    late = int(generator.uniform(0, 0.4) * RATE) if generator.random() < 0.4 else 0
    seconds = generator.uniform(0.7, _SECONDS) if generator.random() < 0.3 else _SECONDS
    kept = wave[: min(int(seconds * RATE), length - late)]
    room[late : late + len(kept)] = kept
    return room
