"""Generated media files: as from cameras, recorders and browsers, and hostile ones."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

RATE = 16_000

PICTURE: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
SOUND: NDArray[np.float32] = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


def clip(frames: int = 8, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Return frames of a red square that moves right on grey, uint8 of shape (frames, height, width, 3)."""
    pictures = np.full((frames, height, width, 3), 128, np.uint8)
    for index, picture in enumerate(pictures):
        picture[8:24, 2 + 4 * index : 18 + 4 * index] = (220, 20, 20)
    return pictures


def picture_file(kind: str, picture: NDArray[np.uint8] = PICTURE, **options: Any) -> bytes:
    """Encode a picture in a format of Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def sound_file(kind: str, subtype: str, sound: NDArray[np.float32] = SOUND, rate: int = RATE) -> bytes:
    """Encode a sound in a format and subtype of libsndfile."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def clip_file(kind: str, codec: str, pictures: NDArray[np.uint8] | None = None) -> bytes:
    """Encode a clip with 8 frames per second in a container and codec of FFmpeg."""
    buffer = io.BytesIO()
    pictures = clip() if pictures is None else pictures
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, 8)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """Return a small PNG with a picture size in its header that the data do not have."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def wav_that_claims(size: int, rate: int = RATE, channels: int = 1, samples: bytes = bytes(3200)) -> bytes:
    """Return a WAV with `size` bytes of samples according to its header, and other samples."""
    wave_format = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + wave_format + b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", min(size + 36, 2**32 - 1)) + body


def jpeg_with_scans(scans: int, side: int) -> bytes:
    """Return a grey progressive JPEG with `scans` more scans than needed. Each scan costs time and few bytes."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True, quality=50)
    data = buffer.getvalue()[:-2]
    last = data.rindex(b"\xff\xda")
    table = data.rindex(b"\xff\xc4", 0, last)
    return data + data[table:] * scans + b"\xff\xd9"


def wav_with_list_first(samples: bytes = bytes(3200)) -> bytes:
    """Return a WAV with a LIST chunk before its format, as some editors write it."""
    data = wav_that_claims(len(samples), samples=samples)
    note = b"LIST" + struct.pack("<I", 16) + b"INFOISFT" + struct.pack("<I", 3) + b"me\0\0"
    return data[:4] + struct.pack("<I", len(data) - 8 + len(note)) + data[8:12] + note + data[12:]


def flac_of_unknown_length(sound: NDArray[np.float32] = SOUND) -> bytes:
    """Return a FLAC whose header does not state the number of samples, as a streaming encoder writes it."""
    data = bytearray(sound_file("FLAC", "PCM_16", sound))
    data[21] &= 0xF0  # the 36 bits of the number of samples in STREAMINFO
    data[22:26] = bytes(4)
    return bytes(data)
