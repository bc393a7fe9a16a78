"""Generated clips with the traits of containers as people have them."""

from __future__ import annotations

import struct
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

import av
import numpy as np
from numpy.typing import NDArray

RATE = 10
SIDE = (32, 48)  # height, width

TURNS = {
    "90": ((0, 1, -1, 0), lambda frames: np.rot90(frames, -1, (1, 2))),
    "180": ((-1, 0, 0, -1), lambda frames: np.rot90(frames, 2, (1, 2))),
    "270": ((0, -1, 1, 0), lambda frames: np.rot90(frames, 1, (1, 2))),
    "mirrored": ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda frames: frames[:, ::-1]),
    "transposed": ((0, 1, 1, 0), lambda frames: frames.transpose(0, 2, 1, 3)),
    "transversed": ((0, -1, -1, 0), lambda frames: np.rot90(frames, 2, (1, 2)).transpose(0, 2, 1, 3)),
}
"""The display matrix of each rotation and flip, and the same on an array of frames."""


@cache
def pictures(count: int, height: int = SIDE[0], width: int = SIDE[1]) -> NDArray[np.uint8]:
    """Return frames with a grey that rises by 6 per frame, and a red corner at the top left."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = (6 * np.arange(count) + 10)[:, None, None, None]
    frames[:, : height // 4, : width // 4] = (220, 20, 20)
    return frames


@cache
def clip_with(
    kind: str = "mp4",
    codec: str = "libx264",
    frames: int = 40,
    sides: tuple[int, int] = SIDE,
    times: tuple[int, ...] = (),
    last: int = 1,
    sound: float = 0.0,
    sound_first: bool = False,
    pixels: str = "yuv420p",
    cover: bool = False,
    **options: str,
) -> bytes:
    """Return a clip of a container and a codec of FFmpeg.

    `times` are the times of the frames in tenths of a second, by default one frame per tenth. `last` is the duration of
    the last frame. `sound` is the length of a sound in seconds. With `cover`, the first stream is a
    picture. `options` are the muxer's.
    """
    with NamedTemporaryFile() as file, av.open(file.name, "w", format=kind, options=options) as container:
        if cover:
            picture_stream = container.add_stream("mjpeg", 1)
            picture_stream.height, picture_stream.width, picture_stream.pix_fmt = 16, 16, "yuvj420p"
        if sound_first:
            tone = container.add_stream("aac" if kind != "webm" else "libopus", 48_000, layout="mono")
        encoder = {"bf": "2", "g": "12"} if codec == "libx264" else {}
        stream = container.add_stream(codec, RATE, options=encoder)
        stream.height, stream.width, stream.pix_fmt = *sides, pixels
        stream.codec_context.time_base = Fraction(1, RATE)
        if sound and not sound_first:
            tone = container.add_stream("aac" if kind != "webm" else "libopus", 48_000, layout="mono")
        packets = []
        for time, picture in zip(times or range(frames), pictures(frames, *sides), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, RATE)
            packets += stream.encode(frame)
        packets += stream.encode()
        shown_last = max(packets, key=lambda packet: packet.pts)
        shown_last.duration = last
        if cover:
            packets += picture_stream.encode(av.VideoFrame.from_ndarray(pictures(1, 16, 16)[0], "rgb24"))
            packets += picture_stream.encode()
        if sound:
            packets[:0] = _sound_packets(tone, sound)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
        container.close()
        return Path(file.name).read_bytes()


def _sound_packets(stream: av.AudioStream, seconds: float) -> list[av.Packet]:
    samples = np.zeros((1, 960), np.float32)
    packets = []
    for start in range(0, int(seconds * 48_000), 960):
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts = 48_000, start
        packets += stream.encode(frame)
    return packets + stream.encode()


def turned(data: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """Return an MP4 with another display matrix."""
    a, b, c, d = (65_536 * number for number in matrix)
    start = data.index(b"tkhd") + 4 + 40  # after the fields of a header of version 0
    return data[:start] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[start + 36 :]


def trimmed(data: bytes, start: float, seconds: float) -> bytes:
    """Return an MP4 of which a player shows only the seconds from a start, by its edit list."""
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 4 + 12)[0]
    movie_scale = struct.unpack_from(">I", data, data.index(b"mvhd") + 4 + 12)[0]
    entry = data.index(b"elst") + 4 + 8
    first = struct.unpack_from(">i", data, entry + 4)[0]
    edit = struct.pack(">Ii", round(seconds * movie_scale), first + round(start * scale))
    return data[:entry] + edit + data[entry + 8 :]
