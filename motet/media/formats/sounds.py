"""The reader of sounds."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator, Sequence

import soundfile

from motet.media.kinds import FLAC, WAV
from motet.media.reading import DecodeError, Facts, Reading

_STREAMING = 0x7FFFF000
"""Minimum length in the header of a streamed WAV, in bytes. A writer that cannot seek back writes a dummy length."""

_UNKNOWN = 2**62
"""Minimum number of samples that libsndfile reports for a file that does not state its number of samples."""

_SECONDS_PER_SAMPLE = 2e-8  # per channel


def read(data: bytes, reading: Reading) -> tuple[Facts, Sequence[bytes]]:
    """Read a sound. The elements are the samples of one channel, float32 in [-1, 1]."""
    limits, is_flac = reading.limits, reading.media_type == FLAC
    with _Sound(io.BytesIO(_tidy_wav(data) if reading.media_type == WAV else data)) as sound:
        rate, channels, promised = sound.samplerate, sound.channels, sound.frames
        if not 1 <= channels <= limits.channels:
            raise DecodeError("channels", channels)
        if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
            raise DecodeError("rate", rate)
        max_samples = int(limits.seconds * rate)
        is_known = promised < _UNKNOWN
        if is_flac and is_known and promised > max_samples:
            raise DecodeError("seconds", promised / rate)
        reading.promise(min(promised, max_samples) * channels * _SECONDS_PER_SAMPLE)
        samples, blocks = 0, []
        for block in _blocks(sound, reading.preprocessing.channels == "mean"):
            samples += len(block) // 4
            blocks.append(block)
            if samples > max_samples:
                raise DecodeError("seconds", (max(promised, samples) if is_known else samples) / rate)
        if is_flac and is_known and samples < promised:
            raise DecodeError("truncated")
    if not samples:
        raise DecodeError("empty")
    return {"rate": rate, "channels": channels, "samples": samples}, blocks


class _Sound(soundfile.SoundFile):  # type: ignore[misc]
    """A sound that is read in order. The library would seek after each read, and cannot at an unknown end."""

    def seekable(self) -> bool:
        """Return False."""
        return False


def _blocks(sound: _Sound, mean: bool) -> Iterator[bytes]:
    """Yield the samples of one channel in blocks of one second, because a header may claim 2**63 samples."""
    while len(elements := sound.read(sound.samplerate, dtype="float32", always_2d=True)):
        elements = elements.clip(-1, 1)
        mono = elements.mean(axis=1, dtype="float32") if mean else elements[:, 0]
        if not math.isfinite(mono.sum()):
            raise DecodeError("unreadable")
        yield mono.astype("<f4").tobytes()


def _tidy_wav(data: bytes) -> bytes:
    """Return a WAV with its format chunk first, because the library requires that. Raise `DecodeError` if it is cut.

    The library would read the samples before the cut without an error.
    """
    chunks = list(_chunks(data))
    format_first = sorted(chunks, key=lambda chunk: chunk[0] != b"fmt ")
    if format_first == chunks:
        return data
    return b"".join([data[:12], *(data[start:end] for _, start, end in format_first), data[chunks[-1][2] :]])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the start and the end of each chunk of a WAV up to its samples."""
    offset = 12
    while offset + 8 <= len(data):
        name, size = data[offset : offset + 4], struct.unpack_from("<I", data, offset + 4)[0]
        end = offset + 8 + size + size % 2
        if name == b"data" and size < _STREAMING and offset + 8 + size > len(data):
            raise DecodeError("truncated")
        yield name, offset, end
        if name == b"data":
            return
        offset = end
    raise DecodeError("truncated")
