"""Arrays to media. These bytes are ours: equal arrays give equal bytes, in any process on one machine."""

from __future__ import annotations

import io
import struct
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
    """A PNG of a picture, uint8 (height, width, 3)."""
    _expect(picture, 3, "a picture")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG", compress_level=6)
    return Media(PNG, buffer.getvalue())


def encode_preview(picture: Picture, side: int = 128) -> Media:
    """A small JPEG of a picture, uint8 (height, width, 3): its longer side is at most `side` pixels."""
    _expect(picture, 3, "a preview")
    buffer = io.BytesIO()
    small = Image.fromarray(np.ascontiguousarray(picture))
    small.thumbnail((side, side))
    small.save(buffer, "JPEG", quality=80)
    return Media(JPEG, buffer.getvalue())


def encode_sound(sound: Sound, rate: int) -> Media:
    """A 16-bit PCM WAV of a mono sound, float32 (samples,) at `rate` samples a second; beyond -1..1 is clipped."""
    if sound.ndim != 1:
        raise ValueError(f"a sound must have the shape (samples,), got {sound.shape}")
    samples = np.round(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return Media(WAV, b"RIFF" + struct.pack("<I", len(body)) + body)


def encode_clip(clip: Clip, rate: float) -> Media:
    """An H.264 MP4 of a clip, uint8 (frames, height, width, 3) at `rate` frames a second; browsers play it.

    An odd height or width grows by one repeated line, because 4:2:0 colour needs even sides.
    """
    _expect(clip, 4, "a clip")
    even = np.pad(clip, ((0, 0), (0, clip.shape[1] % 2), (0, clip.shape[2] % 2), (0, 0)), "edge")
    buffer = io.BytesIO()
    # Bit-exact leaves out the muxer's version. x264 writes other bytes with more threads, and, seen once in some ten
    # clips, with its lookahead, whose assembly reads memory that was never written.
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"crf": "17", "preset": "medium", "threads": "1", "x264-params": _REPEATABLE}
        stream = container.add_stream("libx264", Fraction(rate).limit_denominator(1001), options)
        stream.height, stream.width, stream.pix_fmt = even.shape[1], even.shape[2], "yuv420p"
        for frame in even:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode())
    return Media(MP4, buffer.getvalue())


def _expect(array: NDArray[np.uint8], dimensions: int, what: str) -> None:
    if array.dtype != np.uint8 or array.ndim != dimensions or array.shape[-1] != 3 or not array.size:
        raise ValueError(f"{what} must be uint8 with {dimensions} axes, the last of 3 colours; got {array.shape}")
