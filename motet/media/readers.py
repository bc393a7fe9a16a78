"""The readers of all media types, for the confined child. Each reader returns the facts and the raw elements."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from motet.media.kinds import FLAC, JPEG, MODALITIES, MP3, MP4, OGG, PNG, WAV, WEBM, WEBP
from motet.media.limits import MediaLimits

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL.Image import Image

Facts = dict[str, Any]
"""Names and numbers, see `motet.media.confined.Facts`."""

Reader = Callable[[bytes, MediaLimits], tuple[Facts, bytes]]
"""A function from a file's bytes to its facts and raw elements. It raises `DecodeError` or the codec's error."""

# The modules that each type's reader needs, with the modules that the library imports late. The child imports them
# before it is confined, because a confined process cannot open files. Pillow reads EXIF, which contains the camera's
# orientation, with its TIFF plugin.
_PILLOW = tuple(f"PIL.{name}" for name in ("ImageOps", "ImageCms", "ImagePalette", "ImageFile", "TiffImagePlugin"))
_MODULES: Mapping[str, tuple[str, ...]] = {
    PNG: ("PIL.PngImagePlugin", *_PILLOW),
    JPEG: ("PIL.JpegImagePlugin", "PIL.MpoImagePlugin", *_PILLOW),
    WEBP: ("PIL.WebPImagePlugin", *_PILLOW),
    **dict.fromkeys((WAV, FLAC, MP3, OGG), ("soundfile",)),
    **dict.fromkeys((MP4, WEBM), ("av", "av.subtitles.stream", "av.video.reformatter", "fractions")),
}
_CODECS = {"h264", "hevc", "mpeg4", "vp8", "vp9", "libdav1d", "av1"}
_STREAMING = 0x7FFFF000
"""Minimum length in the header of a streamed WAV, in bytes. A writer that cannot seek back writes a dummy length."""


class DecodeError(Exception):
    """The bytes cannot be decoded or exceed a limit. `motet.media.confined` lists the codes and their messages.

    `value` is the number that exceeds the limit.
    """

    def __init__(self, code: str, value: float = 0) -> None:
        super().__init__(code)
        self.code, self.value = code, value


def prepare(media_type: str) -> None:
    """Import all modules that the reader of a type needs."""
    for module in _MODULES[media_type]:
        import_module(module)


def _read_picture(plugin: str, name: str) -> Reader:
    def read(data: bytes, limits: MediaLimits) -> tuple[Facts, bytes]:
        if name == "WebPImageFile":
            width, height = _webp_sides(data)
            _check_sides(width, height, limits)
        # `Image.open` would try other formats too. The class can reach only the decoder of its own format.
        picture = getattr(import_module(plugin), name)(io.BytesIO(data))
        _check_sides(picture.width, picture.height, limits)
        picture = _upright(_flat(picture))
        return {"width": picture.width, "height": picture.height}, picture.tobytes()

    return read


def _check_sides(width: int, height: int, limits: MediaLimits) -> None:
    if width < 1 or height < 1:
        raise DecodeError("empty")
    if width * height > limits.pixels:
        raise DecodeError("pixels", width * height)
    if max(width, height) > limits.aspect * min(width, height):
        raise DecodeError("aspect", max(width, height) / min(width, height))


def _webp_sides(data: bytes) -> tuple[int, int]:
    """Return the canvas size in a WebP's header (RFC 9649). libwebp allocates the canvas when it opens the file."""
    chunk, body = data[12:16], data[20:30]
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _flat(picture: Image) -> Image:
    """Return the first picture as a viewer shows it: 16 bits scaled to 8, and white behind transparent pixels."""
    if picture.mode.startswith("I"):
        # A conversion of 16-bit grey to 8 bits would clip the values instead of scaling them.
        picture = picture.convert("I").point(lambda value: value / 257).convert("L")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        flat = import_module("PIL.Image").new("RGBA", layer.size, (255, 255, 255, 255))
        flat.alpha_composite(layer)
        flat.info = picture.info
        picture = flat
    return picture


def _upright(picture: Image) -> Image:
    """Return the picture in RGB, rotated by the orientation in its EXIF data."""
    upright: Image = import_module("PIL.ImageOps").exif_transpose(picture)
    return upright.convert("RGB")


def _read_sound(data: bytes, limits: MediaLimits) -> tuple[Facts, bytes]:
    soundfile = import_module("soundfile")
    if data.startswith(b"RIFF"):
        _check_wav_length(data)
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        rate, channels = sound.samplerate, sound.channels
        if not 1 <= channels <= limits.channels:
            raise DecodeError("channels", channels)
        if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
            raise DecodeError("rate", rate)
        max_samples = int(limits.seconds * rate)
        if data.startswith(b"fLaC") and sound.frames > max_samples:
            raise DecodeError("seconds", sound.frames / rate)
        # Read at most one sample more than allowed, because a header may claim 2**63 samples.
        elements = sound.read(min(sound.frames, max_samples + 1), dtype="float32", always_2d=True)
        samples = len(elements)
        if samples > max_samples:
            raise DecodeError("seconds", max(sound.frames, samples) / rate)
        if data.startswith(b"fLaC") and samples < sound.frames:
            raise DecodeError("truncated")
    if not samples:
        raise DecodeError("empty")
    mono = elements.clip(-1, 1).mean(axis=1, dtype="float32")
    if not math.isfinite(mono.sum()):
        raise DecodeError("unreadable")
    return {"rate": rate, "channels": channels, "samples": samples}, mono.astype("<f4").tobytes()


def _check_wav_length(data: bytes) -> None:
    """Raise `DecodeError` for a truncated WAV. The library would read the samples before the cut without an error."""
    offset = 12
    while offset + 8 <= len(data):
        name, size = data[offset : offset + 4], struct.unpack_from("<I", data, offset + 4)[0]
        if name == b"data":
            if size < _STREAMING and offset + 8 + size > len(data):
                raise DecodeError("truncated")
            return
        offset += 8 + size + size % 2
    raise DecodeError("truncated")


def _read_clip(container_format: str) -> Reader:
    def read(data: bytes, limits: MediaLimits) -> tuple[Facts, bytes]:
        av = import_module("av")
        with av.open(io.BytesIO(data), format=container_format) as container:
            if not container.streams.video:
                raise DecodeError("empty")
            stream = container.streams.video[0]
            # The confined process cannot start threads.
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            width, height = _check_clip(container, stream, limits)
            frames, last = _frames(container, stream, width, height, limits)
            if not frames:
                raise DecodeError("empty")
            seconds = (container.duration or 0) / av.time_base
            if len(frames) < stream.frames or last < 0.9 * seconds - 1:
                raise DecodeError("truncated")
            rate = float(stream.average_rate or 0) or (len(frames) / seconds if seconds else 1.0)
        facts = {"width": width, "height": height, "frames": len(frames), "rate": min(max(rate, 0.01), 1000.0)}
        return facts, b"".join(frames)

    return read


def _check_clip(container: Any, stream: Any, limits: MediaLimits) -> tuple[int, int]:
    """Check the header. Return width and height, scaled down if all frames would exceed `limits.clip_pixels`."""
    codec = stream.codec_context
    if codec.name not in _CODECS:
        raise DecodeError("unreadable")
    _check_sides(codec.width, codec.height, limits)
    seconds = (container.duration or 0) / 1_000_000
    if seconds > limits.seconds:
        raise DecodeError("seconds", seconds)
    if stream.frames > limits.frames:
        raise DecodeError("frames", stream.frames)
    expected = min(limits.frames, stream.frames or math.ceil(seconds * float(stream.average_rate or 30)) + 1)
    scale = min(1.0, math.sqrt(limits.clip_pixels / (expected * codec.width * codec.height)))
    return max(1, int(codec.width * scale)), max(1, int(codec.height * scale))


def _frames(container: Any, stream: Any, width: int, height: int, limits: MediaLimits) -> tuple[list[bytes], float]:
    """Return all frames as rows of RGB, and the time of the last frame in seconds."""
    reformat = import_module("av.video.reformatter").VideoReformatter().reformat
    frames: list[bytes] = []
    last = 0.0
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise DecodeError("truncated")
        last = max(last, (frame.time or 0.0) - (stream.start_time or 0) * float(stream.time_base))
        if len(frames) >= limits.frames:
            raise DecodeError("frames", len(frames) + 1)
        if last > limits.seconds:
            raise DecodeError("seconds", last)
        if (len(frames) + 1) * width * height > limits.clip_pixels:
            raise DecodeError("pixels", (len(frames) + 1) * width * height)
        # The default is one thread per core, but the confined process cannot start threads.
        frames.append(_rows(reformat(frame, width, height, "rgb24", threads=1)))
    return frames, last


def _rows(frame: VideoFrame) -> bytes:
    """Return the frame's pixels without the padding at the end of each line."""
    plane = frame.planes[0]
    lines, length = memoryview(plane), frame.width * 3
    if plane.line_size == length:
        return bytes(lines[: length * frame.height])
    return b"".join(
        lines[start : start + length] for start in range(0, plane.line_size * frame.height, plane.line_size)
    )


READERS: Mapping[str, Reader] = {
    PNG: _read_picture("PIL.PngImagePlugin", "PngImageFile"),
    JPEG: _read_picture("PIL.JpegImagePlugin", "JpegImageFile"),
    WEBP: _read_picture("PIL.WebPImagePlugin", "WebPImageFile"),
    **{media_type: _read_sound for media_type, modality in MODALITIES.items() if modality == "audio"},
    MP4: _read_clip("mov"),
    WEBM: _read_clip("matroska"),
}
