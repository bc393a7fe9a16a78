"""The limits of media from outside."""

from __future__ import annotations

from dataclasses import dataclass

from motet.core.media import MAX_MEDIA_BYTES, MEBI


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """The limits of a file, and of the child process that decodes it.

    A limit is checked before the decoding if the header contains the value, and again during the decoding, because a
    header may be wrong.

    `aspect` is the longer side of a picture divided by its shorter side; models scale the shorter side to a fixed
    length. The decoded frames of a clip are scaled down, not refused, if all together have more than `clip_pixels`.
    Sample rates are in Hz. `bytes` and `memory` are in bytes. `work_seconds` is the processor time that a file may take
    as predicted from its header. The child gets a multiple of the prediction, and at most `cpu_seconds`.
    """

    bytes: int = MAX_MEDIA_BYTES
    pixels: int = 16_000_000
    aspect: int = 32
    seconds: float = 60.0
    channels: int = 8
    min_sample_rate: int = 4_000
    max_sample_rate: int = 192_000
    frames: int = 600
    clip_pixels: int = 64_000_000
    work_seconds: float = 10.0
    memory: int = 1024 * MEBI
    cpu_seconds: int = 20
    wall_seconds: float = 30.0


DEFAULT_LIMITS = MediaLimits()
