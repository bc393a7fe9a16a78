"""Media from outside to arrays. Every byte is read in a confined child process; cancelling kills it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.core.errors import MediaError, Reason
from motet.core.media import Media
from motet.media import confined, kinds
from motet.media.limits import DEFAULT_LIMITS, MediaLimits


@dataclass(frozen=True, slots=True)
class Probe:
    """What media turned out to be, after all of it was decoded once. What does not apply is 0.

    `rate` is samples or frames a second.
    """

    media_type: str
    modality: str
    width: int = 0
    height: int = 0
    frames: int = 0
    samples: int = 0
    channels: int = 0
    rate: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it lasts; 0 for a still picture."""
        return (self.frames or self.samples) / self.rate if self.rate else 0.0


async def probe(data: bytes, declared: str = "", limits: MediaLimits = DEFAULT_LIMITS) -> Probe:
    """Decode the bytes once, keep nothing, and say what they are.

    Raises `MediaError` for bytes that are of no supported type, not of the declared modality, damaged, cut short, or
    over a limit. Another type of the declared modality is no error: `Probe.media_type` is what the bytes are.
    """
    media_type = _type_of(Media(declared, data), limits)
    found, _ = await confined.read(media_type, data, limits, "facts")
    facts = {name: int(value) for name, value in found.items() if name != "rate"}
    return Probe(media_type, kinds.MODALITIES[media_type], rate=found.get("rate", 0.0), **facts)


async def decode_picture(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """The picture as uint8 (height, width, 3): the first of several, upright, on white where it is transparent.

    Raises `MediaError`, as do the others.
    """
    found, body = await _elements(media, "image", limits)
    return np.frombuffer(body, np.uint8).reshape(int(found["height"]), int(found["width"]), 3).copy()


async def decode_sound(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[NDArray[np.float32], int]:
    """The sound as float32 (samples,) between -1 and 1, its channels averaged, and its samples a second."""
    found, body = await _elements(media, "audio", limits)
    return np.frombuffer(body, np.float32).copy(), int(found["rate"])


async def decode_clip(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[NDArray[np.uint8], float]:
    """The clip as uint8 (frames, height, width, 3), and its frames a second.

    Where all frames together exceed `limits.clip_pixels` they come scaled down.
    """
    found, body = await _elements(media, "video", limits)
    shape = (int(found["frames"]), int(found["height"]), int(found["width"]), 3)
    return np.frombuffer(body, np.uint8).reshape(shape).copy(), found["rate"]


async def _elements(media: Media, modality: str, limits: MediaLimits) -> tuple[confined.Numbers, bytes]:
    media_type = _type_of(media, limits)
    if kinds.MODALITIES[media_type] != modality:
        raise MediaError(
            f"attached media must be {modality} here, but the bytes are {media_type}",
            Reason.UNSUPPORTED_MEDIA_TYPE,
            {"media_type": media_type},
        )
    return await confined.read(media_type, media.data, limits, "elements")


def _type_of(media: Media, limits: MediaLimits) -> str:
    """What the bytes claim to be, if it is supported, agrees with what was declared, and is not too much."""
    if len(media.data) > limits.bytes:
        raise MediaError(
            f"attached media take {len(media.data)} bytes; at most {limits.bytes} are allowed",
            Reason.MEDIA_LIMIT_EXCEEDED,
            {"bytes": str(len(media.data)), "limit": str(limits.bytes)},
        )
    found, declared = kinds.sniff(media.data), kinds.normalise(media.media_type)
    if found is None:
        raise MediaError(
            f"the attached bytes are none of {', '.join(kinds.MODALITIES)}",
            Reason.UNSUPPORTED_MEDIA_TYPE,
        )
    if declared and kinds.modality_of(declared) != kinds.MODALITIES[found]:
        raise MediaError(
            f"the attached bytes are {found}, not what they were declared as: declare them as that, or not at all",
            Reason.UNSUPPORTED_MEDIA_TYPE,
            {"media_type": found},
        )
    return found
