"""The decoding of attached media into arrays. A confined child process reads each file; a cancellation kills it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.core.errors import MediaError, Reason
from motet.core.media import Media
from motet.media import confined, kinds
from motet.media.confined import Facts
from motet.media.decoded_media import DecodedMedia
from motet.media.limits import DEFAULT_LIMITS, MediaLimits


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The type of media and the facts about them, after a full decoding. A fact that does not apply is 0.

    `rate` is in samples or frames per second.
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
        """The duration; 0 for a still picture."""
        return (self.frames or self.samples) / self.rate if self.rate else 0.0


async def probe(media: Media, limits: MediaLimits = DEFAULT_LIMITS, *, keep: bool = False) -> ProbeResult:
    """Decode media to detect their type and facts.

    Raises `MediaError` for bytes that have no supported type, have another modality than declared, are damaged or
    truncated, or exceed a limit. Another type of the declared modality is no error: `ProbeResult.media_type` is the
    type of the bytes.

    `keep` is for a process that also encodes: the next decoding of the same bytes takes the result of this decoding.
    """
    media_type = _type_of(media, limits)
    facts, elements = await confined.read(media_type, media.data, limits, "elements" if keep else "facts")
    if keep:
        digest = await asyncio.to_thread(lambda: media.sha256)
        DecodedMedia.of_this_loop().put((digest, limits), (facts, elements))
    counts = {name: int(value) for name, value in facts.items() if name != "rate"}
    return ProbeResult(media_type, kinds.MODALITIES[media_type], rate=facts.get("rate", 0.0), **counts)


async def decode_picture(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Return the first picture as uint8 of shape (height, width, 3), upright, on white where it is transparent.

    Raises `MediaError`, see `probe`.
    """
    facts, elements = await _elements(media, "image", limits)
    return np.frombuffer(elements, np.uint8).reshape(int(facts["height"]), int(facts["width"]), 3).copy()


async def decode_sound(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[NDArray[np.float32], int]:
    """Return the mean of all channels as float32 of shape (samples,) in [-1, 1], and the sample rate in Hz.

    Raises `MediaError`, see `probe`.
    """
    facts, elements = await _elements(media, "audio", limits)
    return np.frombuffer(elements, np.float32).copy(), int(facts["rate"])


async def decode_clip(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[NDArray[np.uint8], float]:
    """Return the clip as uint8 of shape (frames, height, width, 3), and the frames per second.

    The frames are scaled down if all of them together exceed `limits.clip_pixels`. Raises `MediaError`, see `probe`.
    """
    facts, elements = await _elements(media, "video", limits)
    shape = (int(facts["frames"]), int(facts["height"]), int(facts["width"]), 3)
    return np.frombuffer(elements, np.uint8).reshape(shape).copy(), facts["rate"]


async def _elements(media: Media, modality: str, limits: MediaLimits) -> tuple[Facts, bytes]:
    media_type = _type_of(media, limits)
    if kinds.MODALITIES[media_type] != modality:
        raise MediaError(
            f"attached media must be {modality} here, but the bytes are {media_type}",
            Reason.UNSUPPORTED_MEDIA_TYPE,
            {"media_type": media_type},
        )
    decoded = DecodedMedia.of_this_loop().take((media.sha256, limits))
    return decoded or await confined.read(media_type, media.data, limits, "elements")


def _type_of(media: Media, limits: MediaLimits) -> str:
    """Return the media type that the first bytes claim. Raise `MediaError` if they contradict the declared type."""
    if len(media.data) > limits.bytes:
        raise MediaError(
            f"attached media may have at most {limits.bytes} bytes, not {len(media.data)}",
            Reason.MEDIA_LIMIT_EXCEEDED,
            {"bytes": str(len(media.data)), "limit": str(limits.bytes)},
        )
    detected, declared = kinds.sniff(media.data), kinds.normalise(media.media_type)
    if detected is None:
        raise MediaError(
            f"the attached bytes are of no supported type: send {', '.join(kinds.MODALITIES)}",
            Reason.UNSUPPORTED_MEDIA_TYPE,
        )
    if declared and kinds.modality_of(declared) != kinds.MODALITIES[detected]:
        raise MediaError(
            f"the attached bytes are {detected}, not of the declared type: declare the true type, or no type",
            Reason.UNSUPPORTED_MEDIA_TYPE,
            {"media_type": detected},
        )
    return detected
