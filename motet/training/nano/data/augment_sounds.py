"""Augmented notes of the nano world for the training of the audio tower."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from motet.models.encoder.fbank import RATE
from motet.models.encoder.network import ImageBindConfig
from motet.models.encoder.preprocessing import mel_picture
from motet.training.nano.data.encoder_example import EncoderExample
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.world import sounds
from motet.training.nano.world.world import INSTRUMENTS, MIDDLE_C, REGISTERS, Thing, things_of_split

Wave = NDArray[np.float32]
_SECONDS = 2.0
_REGISTER_NOTES = [note for notes in REGISTERS.values() for note in notes]
# The largest pitch error of a note in a register, in semitones. A decoder can miss the pitch slightly, and the gaps
# between registers are more than an octave wide.
_DETUNING = 0.6
# The largest bend of a note outside the registers, in semitones. It brings every pitch to the timbre of many notes.
_BEND = 6.0


class SoundExamples:
    """A source of notes from the training split or from the test split, as inputs of the audio tower.

    A tower that is trained only on whole combinations predicts one attribute from the other ("a piano is never low")
    and fails on the held-out ones. So in the training split most notes are outside the registers and belong to no
    thing. They have labels for both instrument and pitch.
    """

    def __init__(self, config: ImageBindConfig, test_split: bool) -> None:
        self._config = config.audio
        self._things = things_of_split("audio", test_split)
        self._register_notes = RegisterNotes()
        self._other_notes = None if test_split else OffRegisterNotes()

    def draw(self, rng: np.random.Generator) -> EncoderExample:
        """Return a note; pixels are (1, bins, frames)."""
        if self._other_notes and rng.random() < 0.6:
            instrument = pick(rng, tuple(INSTRUMENTS))
            wave, note = self._other_notes.draw(instrument, rng)
            return self._example(wave, note, instrument)
        thing = self._things[rng.integers(len(self._things))]
        wave, note = self._register_notes.draw(thing, rng)
        return self._example(wave, note, thing.subject, thing)

    def _example(self, wave: Wave, note: float, instrument: str, thing: Thing | None = None) -> EncoderExample:
        view = mel_picture(torch.from_numpy(wave), self._config)
        return EncoderExample(view, {"instrument": instrument}, (note - MIDDLE_C) / 12, thing)


class RegisterNotes:
    """The notes in the registers, of every instrument."""

    def __init__(self) -> None:
        self._waves: dict[tuple[str, str], list[tuple[int, Wave]]] = {}
        for (instrument, register, note), wave in sounds.load().items():
            self._waves.setdefault((instrument, register), []).append((note, wave))

    def draw(self, thing: Thing, rng: np.random.Generator) -> tuple[Wave, float]:
        """Return an augmented note of an audio thing, slightly out of tune, and its MIDI note."""
        note, wave = pick(rng, self._waves[thing.subject, thing.manner])
        bend = rng.uniform(-_DETUNING, _DETUNING)
        return augment_note(wave, rng, bend), note + bend


class OffRegisterNotes:
    """The notes outside the registers, of every instrument."""

    def __init__(self) -> None:
        self._waves: dict[str, list[tuple[int, Wave]]] = {}
        for (instrument, note), wave in sounds.load_scales().items():
            if note not in _REGISTER_NOTES:
                self._waves.setdefault(instrument, []).append((note, wave))

    def draw(self, instrument: str, rng: np.random.Generator) -> tuple[Wave, float]:
        """Return an augmented note of an instrument, and its MIDI note.

        The note is bent by at most half an octave, and never into a register.
        """
        note, wave = pick(rng, self._waves[instrument])
        while True:
            bend = rng.uniform(-_BEND, _BEND)
            if min(abs(note + bend - other) for other in _REGISTER_NOTES) > _DETUNING:
                return augment_note(wave, rng, bend), note + bend


def augment_note(wave: Wave, rng: np.random.Generator, bend: float) -> Wave:
    """Return two seconds of the note, bent by `bend` semitones, with random start, length, tone, volume and noise."""
    speed = 2 ** (bend / 12)
    wave = np.interp(np.arange(0, len(wave) - 1, speed), np.arange(len(wave)), wave)
    wave = _equalized(wave, rng)
    wave = _shifted(wave, rng)
    peak = rng.uniform(0.08, 1.0)
    wave = wave * (peak / max(float(np.abs(wave).max()), 1e-6))
    noise = peak * 10 ** (-rng.uniform(15, 60) / 20)
    return (wave + noise * rng.standard_normal(len(wave)) * 0.3).astype(np.float32)


def _equalized(wave: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
    """Return the wave after a random equaliser and sometimes a low-pass filter.

    A sound font uses one recording for a few neighbouring notes. The equaliser prevents the tower from learning the
    overtones of single recordings.
    """
    bands = np.linspace(0, 1, 16)
    decibels = rng.normal(0, 5, len(bands))
    if rng.random() < 0.2:
        decibels -= np.clip(bands - rng.uniform(0.3, 1), 0, 1) * 60
    # Padded to a power of two: the transform of a length with large prime factors takes ten times as long.
    spectrum = np.fft.rfft(wave, 1 << (len(wave) - 1).bit_length())
    gains = 10 ** (np.interp(np.linspace(0, 1, len(spectrum)), bands, decibels) / 20)
    return np.fft.irfft(spectrum * gains)[: len(wave)]


def _shifted(wave: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
    """Return two seconds in which the wave sometimes starts late or ends early."""
    length = int(_SECONDS * RATE)
    shifted = np.zeros(length)
    start = int(rng.uniform(0, 0.4) * RATE) if rng.random() < 0.4 else 0
    seconds = rng.uniform(0.7, _SECONDS) if rng.random() < 0.3 else _SECONDS
    kept = wave[: min(int(seconds * RATE), length - start)]
    shifted[start : start + len(kept)] = kept
    return shifted
