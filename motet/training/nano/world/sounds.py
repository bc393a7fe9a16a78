"""Sounds of the nano world: single notes of General MIDI instruments, rendered once by fluidsynth.

python -m motet.training.nano.world.sounds --out build/data/sounds.safetensors
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.io import wavfile
from scipy.signal import resample_poly

from motet.training.nano.world.world import INSTRUMENTS, REGISTERS

RATE = 16000
# 192 spectrogram frames of 10 ms.
SAMPLES = 30720
DEFAULT_PATH = Path("build/data/sounds.safetensors")
# All rendered MIDI notes. The margin of eight notes gives every register neighbours on both sides.
SCALE = range(min(REGISTERS["low"]) - 8, max(REGISTERS["high"]) + 9)
_NOTE_SECONDS = 1.6
_SLOT_SECONDS = 4
_RENDER_RATE = 48000

Sound = NDArray[np.float32]


def load(path: Path = DEFAULT_PATH) -> dict[tuple[str, str, int], Sound]:
    """Load the sounds by (instrument, register, MIDI note): float32 (30720,) at 16 kHz, mono, peak 0.7.

    Render the sounds first (half a minute) if the file does not exist.
    """
    registers = {note: register for register, span in REGISTERS.items() for note in span}
    scales = load_scales(path)
    return {(name, registers[note], note): sound for (name, note), sound in scales.items() if note in registers}


def load_scales(path: Path = DEFAULT_PATH) -> dict[tuple[str, int], Sound]:
    """Load the sounds by (instrument, MIDI note), for every note of `SCALE`, see `load`.

    Notes outside the registers belong to no thing of the world, so none of them is held out.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: torch.from_numpy(sound) for key, sound in _render_all().items()}, path)
    sounds = {}
    for key, sound in load_file(path).items():
        instrument, note = key.split("/")
        sounds[instrument, int(note)] = sound.numpy()
    return sounds


def frequency(note: int) -> float:
    """Return the pitch of a MIDI note in hertz, in equal temperament with A4 = 440."""
    return float(440 * 2 ** ((note - 69) / 12))


def _render_all() -> dict[str, Sound]:
    rendered = {}
    for instrument, program in INSTRUMENTS.items():
        track = _render(program, SCALE)
        for slot, note in enumerate(SCALE):
            start = slot * _SLOT_SECONDS * RATE
            sound = track[start : start + SAMPLES].astype(np.float32)
            rendered[f"{instrument}/{note}"] = 0.7 * sound / np.abs(sound).max()
    return rendered


def _render(program: int, notes: Sequence[int]) -> Sound:
    """Render the notes on one instrument, one every four seconds; float32 at 16 kHz, mono."""
    font = _font()
    with tempfile.TemporaryDirectory() as folder:
        midi, wave = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        midi.write_bytes(_midi_file(program, notes))
        # Reverberation and chorus are off: they are not part of the timbre, and the vocoder is small.
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.8", "-r", str(_RENDER_RATE), "-F"]
        try:
            subprocess.run([*command, str(wave), str(font), str(midi)], check=True, capture_output=True)
        except FileNotFoundError as error:
            raise FileNotFoundError("fluidsynth is missing: install the Debian package fluidsynth") from error
        _, levels = wavfile.read(wave)
    mono = levels.astype(np.float32).mean(axis=1) / 32768
    track: Sound = resample_poly(mono, RATE, _RENDER_RATE).astype(np.float32)
    return np.pad(track, (0, max(0, len(notes) * _SLOT_SECONDS * RATE - len(track))))


def _font() -> Path:
    font = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
    if not font.exists():
        raise FileNotFoundError(f"{font} is missing: install the Debian package fluid-soundfont-gm")
    return font


def _midi_file(program: int, notes: Sequence[int]) -> bytes:
    """Return a MIDI file of one track. With 500 ticks a beat and the default tempo, one tick is one millisecond."""
    duration = int(_NOTE_SECONDS * 1000)
    track = bytes([0, 0xC0, program])
    for slot, note in enumerate(notes):
        pause = 0 if slot == 0 else _SLOT_SECONDS * 1000 - duration
        track += _ticks(pause) + bytes([0x90, note, 100]) + _ticks(duration) + bytes([0x80, note, 0])
    # A pause before the end of the track, so that the last note can fade out.
    track += _ticks(_SLOT_SECONDS * 1000) + bytes([0xFF, 0x2F, 0])
    return struct.pack(">4sLHHH4sL", b"MThd", 6, 0, 1, 500, b"MTrk", len(track)) + track


def _ticks(count: int) -> bytes:
    """Return a MIDI variable-length number."""
    digits = [count & 0x7F]
    while count := count >> 7:
        digits.insert(0, count & 0x7F | 0x80)
    return bytes(digits)


def main(out: Annotated[Path, typer.Option(help="File of the sounds.")] = DEFAULT_PATH) -> None:
    """Render the sounds of the nano world, and print their number."""
    print(f"{len(load_scales(out))} sounds")


if __name__ == "__main__":
    typer.run(main)
