"""The decoding of attached media into arrays. A confined child process reads each file; a cancellation kills it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.core.errors import MediaError, Reason
from motet.core.media import Media, sha256_of
from motet.core.preprocessing import AS_SHOWN, Preprocessing
from motet.media import confined, kinds
from motet.media.clip_starts import ends_of_parts
from motet.media.confined import Elements, Facts, Order
from motet.media.decoded_media import DecodedMedia
from motet.media.limits import DEFAULT_LIMITS, MediaLimits
from motet.media.reading import Output


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


@dataclass(frozen=True, slots=True, eq=False)
class ClipEnds:
    """The first and the last frame of each part of a clip that an encoder reads, see `motet.media.clip_starts`.

    A frame is uint8 of shape (height, width, 3). The length is the number of all frames of the clip.
    """

    frames: Mapping[int, NDArray[np.uint8]]
    """By the position in the clip."""
    length: int
    rate: float
    """Frames per second."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.frames[index]


async def probe(
    media: Media,
    limits: MediaLimits = DEFAULT_LIMITS,
    preprocessing: Preprocessing = AS_SHOWN,
    *,
    tenant: str = "",
    keep: bool = False,
) -> ProbeResult:
    """Decode media, as far as an encoder with this preprocessing does, to detect their type and facts.

    Raises `MediaError` for bytes that have no supported type, have another modality than declared, are damaged or
    truncated, or exceed a limit. Another type of the declared modality is no error: `ProbeResult.media_type` is the
    type of the bytes.

    `keep` is for a process that also encodes: the tenant's next decoding of the same bytes takes the result of this
    decoding. Otherwise `tenant` only affects the scheduling.
    """
    output: Output = "views" if keep else "facts"
    order = Order(_type_of(media, limits), limits, output, preprocessing, tenant)
    facts, elements = await confined.read(media.data, order)
    if keep:
        DecodedMedia.of_this_loop().put((await sha256_of(media), limits, preprocessing, tenant), (facts, elements))
    counts = {name: int(value) for name, value in facts.items() if name not in ("rate", "kept")}
    return ProbeResult(order.media_type, kinds.MODALITIES[order.media_type], rate=facts.get("rate", 0.0), **counts)


async def decode_picture(
    media: Media, limits: MediaLimits = DEFAULT_LIMITS, preprocessing: Preprocessing = AS_SHOWN, *, tenant: str = ""
) -> NDArray[np.uint8]:
    """Return the first picture as uint8 of shape (height, width, 3). Raises `MediaError`, see `probe`."""
    facts, elements = await _views(media, "image", limits, preprocessing, tenant)
    return elements.reshape(int(facts["height"]), int(facts["width"]), 3)


async def decode_sound(
    media: Media, limits: MediaLimits = DEFAULT_LIMITS, preprocessing: Preprocessing = AS_SHOWN, *, tenant: str = ""
) -> tuple[NDArray[np.float32], int]:
    """Return the samples of one channel as float32 of shape (samples,) in [-1, 1], and the sample rate in Hz.

    Raises `MediaError`, see `probe`.
    """
    facts, elements = await _views(media, "audio", limits, preprocessing, tenant)
    return elements.view(np.float32), int(facts["rate"])


async def decode_clip_ends(
    media: Media, limits: MediaLimits = DEFAULT_LIMITS, preprocessing: Preprocessing = AS_SHOWN, *, tenant: str = ""
) -> ClipEnds:
    """Return the frames of a clip that an encoder reads.

    They are scaled down if all together exceed `limits.clip_pixels`. Raises `MediaError`, see `probe`.
    """
    facts, elements = await _views(media, "video", limits, preprocessing, tenant)
    length, rate = int(facts["frames"]), facts["rate"]
    kept = sorted({index for ends in ends_of_parts(length, rate, preprocessing) for index in ends})
    return ClipEnds(dict(zip(kept, _frames_of(facts, elements), strict=True)), length, rate)


async def decode_clip(
    media: Media, limits: MediaLimits = DEFAULT_LIMITS, *, tenant: str = ""
) -> tuple[NDArray[np.uint8], float]:
    """Return all frames of a clip as uint8 of shape (frames, height, width, 3), and the frames per second.

    They are scaled down if all together exceed `limits.clip_pixels`. Raises `MediaError`, see `probe`.
    """
    media_type = _checked_type(media, "video", limits)
    facts, elements = await confined.read(media.data, Order(media_type, limits, "elements", tenant=tenant))
    return _frames_of(facts, elements), facts["rate"]


def _frames_of(facts: Facts, elements: Elements) -> NDArray[np.uint8]:
    shape = (int(facts["kept"]), int(facts["height"]), int(facts["width"]), 3)
    return elements.reshape(shape)


async def _views(
    media: Media, modality: str, limits: MediaLimits, preprocessing: Preprocessing, tenant: str
) -> tuple[Facts, Elements]:
    """Return the facts and the elements that an encoder reads, from the last probe or from a new child."""
    media_type = _checked_type(media, modality, limits)
    decoded = DecodedMedia.of_this_loop().take((await sha256_of(media), limits, preprocessing, tenant))
    return decoded or await confined.read(media.data, Order(media_type, limits, "views", preprocessing, tenant))


def _checked_type(media: Media, modality: str, limits: MediaLimits) -> str:
    """Return the media type. Raise `MediaError` if its modality is another one."""
    media_type = _type_of(media, limits)
    if kinds.MODALITIES[media_type] != modality:
        raise MediaError(
            f"attached media must be {modality} here, but the bytes are {media_type}",
            Reason.UNSUPPORTED_MEDIA_TYPE,
            {"media_type": media_type},
        )
    return media_type


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
