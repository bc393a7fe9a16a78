"""The encoding of generated arrays as media. Equal arrays give equal bytes, in any process on one machine."""

from __future__ import annotations

import io
import wave
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motet.core.media import Media
from motet.media.kinds import JPEG, MP4, PNG, WAV

Picture = NDArray[np.uint8]
Sound = NDArray[np.float32]
Clip = NDArray[np.uint8]

_REPEATABLE = "bframes=0:rc-lookahead=0:mbtree=0:asm=0"


def encode_picture(picture: Picture) -> Media:
    """Encode a picture, uint8 of shape (height, width, 3), as PNG."""
    _check_shape(picture, 3, "a picture")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG", compress_level=6)
    return Media(PNG, buffer.getvalue())


def encode_preview(picture: Picture, side: int = 128) -> Media:
    """Encode a picture, uint8 of shape (height, width, 3), as a JPEG with a longer side of at most `side` pixels."""
    _check_shape(picture, 3, "a preview")
    buffer = io.BytesIO()
    small = Image.fromarray(np.ascontiguousarray(picture))
    small.thumbnail((side, side))
    small.save(buffer, "JPEG", quality=80)
    return Media(JPEG, buffer.getvalue())


def encode_sound(sound: Sound, rate: int) -> Media:
    """Encode a mono sound, float32 of shape (samples,) at `rate` Hz, as a 16-bit PCM WAV. Clip it to [-1, 1]."""
    if sound.ndim != 1:
        raise ValueError(f"a sound must have the shape (samples,), got {sound.shape}")
    samples = np.round(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return Media(WAV, buffer.getvalue())


def encode_clip(clip: Clip, rate: float) -> Media:
    """Encode a clip, uint8 of shape (frames, height, width, 3) at `rate` frames per second, as H.264 in MP4.

    Browsers can play it. Repeat the last line of an odd height or width, because 4:2:0 colour needs even sides.
    """
    _check_shape(clip, 4, "a clip")
    even = np.pad(clip, ((0, 0), (0, clip.shape[1] % 2), (0, clip.shape[2] % 2), (0, 0)), "edge")
    buffer = io.BytesIO()
    # "+bitexact" leaves out the muxer's version. With several threads x264 writes other bytes. With its lookahead, some
    # clips get other bytes (about one in ten), because its assembly code reads uninitialised memory.
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"crf": "17", "preset": "medium", "threads": "1", "x264-params": _REPEATABLE}
        stream = container.add_stream("libx264", Fraction(rate).limit_denominator(1001), options)
        stream.height, stream.width, stream.pix_fmt = even.shape[1], even.shape[2], "yuv420p"
        for frame in even:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode())
    return Media(MP4, buffer.getvalue())


def _check_shape(array: NDArray[np.uint8], dimensions: int, name: str) -> None:
    if array.dtype != np.uint8 or array.ndim != dimensions or array.shape[-1] != 3 or not array.size:
        raise ValueError(f"{name} must be uint8 with {dimensions} axes, the last of 3 colours; got {array.shape}")
