"""Sounds to learn hearing from: the nano world's notes, played roughly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from motet.models.encoder.fbank import RATE
from motet.models.encoder.network import ImageBindConfig
from motet.models.encoder.preprocessing import mel_picture
from motet.training.nano.data.augment_pictures import Example
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.world import sounds
from motet.training.nano.world.world import INSTRUMENTS, MIDDLE_C, REGISTERS, Thing, chosen

Wave = NDArray[np.float32]
_SECONDS = 2.0
_NAMED = [note for span in REGISTERS.values() for note in span]
# Semitones off pitch: a decoder may miss the note a little, and registers are over an octave apart.
_SLIP = 0.6
# Semitones that a nameless note is bent: so every pitch is heard in the timbre of many notes.
_BEND = 6.0


class SoundExamples:
    """Draws notes of all sounds that are (or are not) held out, as the audio tower takes them.

    Who has only met whole combinations tells one attribute by the other ("a piano is never low"), and fails at those
    held out. So in practice most notes lie outside the registers and belong to no thing: of them instrument and pitch
    are told. Of the others no answer is wrong that would be a held-out thing.
    """

    def __init__(self, config: ImageBindConfig, held_out: bool) -> None:
        self._config = config.audio
        self._things = chosen("audio", held_out)
        self._notes = Notes()
        self._nameless = None if held_out else NamelessNotes()

    def draw(self, generator: np.random.Generator) -> Example:
        """One example, (1, bins, frames)."""
        if self._nameless and generator.random() < 0.6:
            instrument = pick(generator, tuple(INSTRUMENTS))
            wave, note = self._nameless.draw(instrument, generator)
            return self._example(wave, note, instrument)
        thing = self._things[generator.integers(len(self._things))]
        wave, note = self._notes.draw(thing, generator)
        return self._example(wave, note, thing.subject, thing)

    def _example(self, wave: Wave, note: float, instrument: str, thing: Thing | None = None) -> Example:
        view = mel_picture(torch.from_numpy(wave), self._config)
        return Example(view, {"instrument": instrument}, (note - MIDDLE_C) / 12, thing)


class Notes:
    """The notes of the world's sounds."""

    def __init__(self) -> None:
        self._waves: dict[tuple[str, str], list[tuple[int, Wave]]] = {}
        for (instrument, register, note), wave in sounds.load().items():
            self._waves.setdefault((instrument, register), []).append((note, wave))

    def draw(self, thing: Thing, generator: np.random.Generator) -> tuple[Wave, float]:
        """One of a sound's, played roughly and a little out of tune, and its MIDI note."""
        note, wave = pick(generator, self._waves[thing.subject, thing.manner])
        bend = generator.uniform(-_SLIP, _SLIP)
        return rough_note(wave, generator, bend), note + bend


class NamelessNotes:
    """Notes that lie in no register, between them and on either side, of every instrument."""

    def __init__(self) -> None:
        self._scales: dict[str, list[tuple[int, Wave]]] = {}
        for (instrument, note), wave in sounds.load_scales().items():
            if note not in _NAMED:
                self._scales.setdefault(instrument, []).append((note, wave))

    def draw(self, instrument: str, generator: np.random.Generator) -> tuple[Wave, float]:
        """One of an instrument's, bent by half an octave at most and never into a register, and its MIDI note."""
        note, wave = pick(generator, self._scales[instrument])
        while True:
            bend = generator.uniform(-_BEND, _BEND)
            if min(abs(note + bend - named) for named in _NAMED) > _SLIP:
                return rough_note(wave, generator, bend), note + bend


def rough_note(wave: Wave, generator: np.random.Generator, bend: float) -> Wave:
    """The note, two seconds, bent by so many semitones; start, length, tone, loudness and noise are left to chance."""
    speed = 2 ** (bend / 12)
    wave = np.interp(np.arange(0, len(wave) - 1, speed), np.arange(len(wave)), wave)
    wave = _toned(wave, generator)
    wave = _placed(wave, generator)
    loudest = generator.uniform(0.08, 1.0)
    wave = wave * (loudest / max(float(np.abs(wave).max()), 1e-6))
    noise = loudest * 10 ** (-generator.uniform(15, 60) / 20)
    return (wave + noise * generator.standard_normal(len(wave)) * 0.3).astype(np.float32)


def _toned(wave: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.floating]:
    """The wave through a chance equaliser, and sometimes a low-pass.

    A sound font plays each few notes from a recording of their own, with overtones of its own: an instrument must be
    known by more than those.
    """
    bands = np.linspace(0, 1, 16)
    decibels = generator.normal(0, 5, len(bands))
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
