"""How large media from outside may be."""

from __future__ import annotations

from dataclasses import dataclass

MEBI = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What is refused, and what a child that decodes may use. Each is checked before decoding where a header says it,
    and while decoding, because a header may lie.

    A picture may be `aspect` times as long as it is wide, no more: models scale the shorter side to a fixed length.
    A clip whose frames together exceed `clip_pixels` is scaled down while it is decoded, not refused.
    """

    bytes: int = 32 * MEBI
    pixels: int = 16_000_000
    aspect: int = 32
    seconds: float = 60.0
    channels: int = 8
    lowest_rate: int = 4_000
    highest_rate: int = 192_000
    frames: int = 600
    clip_pixels: int = 64_000_000
    memory: int = 1024 * MEBI
    cpu_seconds: int = 20
    wall_seconds: float = 30.0


DEFAULT_LIMITS = MediaLimits()
