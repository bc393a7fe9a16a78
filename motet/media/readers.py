"""How each media type is read, inside the confined child. Each reader returns what it found, and the raw elements."""

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

Found = dict[str, Any]
Reader = Callable[[bytes, MediaLimits], tuple[Found, bytes]]

# What each type's reader imports, lazy imports of the library's own included: it is imported before the process is
# confined, because afterwards no file can be opened. EXIF, where a camera writes which way is up, is read as TIFF.
_PILLOW = tuple(f"PIL.{name}" for name in ("ImageOps", "ImageCms", "ImagePalette", "ImageFile", "TiffImagePlugin"))
_MODULES: Mapping[str, tuple[str, ...]] = {
    PNG: ("PIL.PngImagePlugin", *_PILLOW),
    JPEG: ("PIL.JpegImagePlugin", "PIL.MpoImagePlugin", *_PILLOW),
    WEBP: ("PIL.WebPImagePlugin", *_PILLOW),
    **dict.fromkeys((WAV, FLAC, MP3, OGG), ("soundfile",)),
    **dict.fromkeys((MP4, WEBM), ("av", "av.subtitles.stream", "av.video.reformatter", "fractions")),
}
_CODECS = {"h264", "hevc", "mpeg4", "vp8", "vp9", "libdav1d", "av1"}
_STREAMING = 0x7FFFF000  # Writers that cannot seek back leave about this much, or more, as a WAV's length.


class RefusedError(Exception):
    """These bytes will not be read. `code` is of a closed list; `confined` puts it into words of our own."""

    def __init__(self, code: str, found: float = 0) -> None:
        super().__init__(code)
        self.code, self.found = code, found


def prepare(media_type: str) -> None:
    """Import all that reading this type takes."""
    for module in _MODULES[media_type]:
        import_module(module)


def _read_picture(plugin: str, name: str) -> Reader:
    def read(data: bytes, limits: MediaLimits) -> tuple[Found, bytes]:
        if name == "WebPImageFile":
            width, height = _webp_sides(data)
            _check_sides(width, height, limits)
        # The class itself, not Image.open: no other format is tried, and no other's decoder is reachable.
        picture = getattr(import_module(plugin), name)(io.BytesIO(data))
        _check_sides(picture.width, picture.height, limits)
        picture = _upright(_flat(picture))
        return {"width": picture.width, "height": picture.height}, picture.tobytes()

    return read


def _check_sides(width: int, height: int, limits: MediaLimits) -> None:
    if width < 1 or height < 1:
        raise RefusedError("empty")
    if width * height > limits.pixels:
        raise RefusedError("pixels", width * height)
    if max(width, height) > limits.aspect * min(width, height):
        raise RefusedError("aspect", max(width, height) / min(width, height))


def _webp_sides(data: bytes) -> tuple[int, int]:
    """The canvas that a WebP's header asks for (RFC 9649); libwebp allocates it before anyone can ask."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _flat(picture: Image) -> Image:
    """The first picture, in colour, on white where it is transparent: what a viewer shows."""
    if picture.mode.startswith("I"):
        # 16 bits of grey; converting would clip them instead of scaling them.
        picture = picture.convert("I").point(lambda value: value / 257).convert("L")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        flat = import_module("PIL.Image").new("RGBA", layer.size, (255, 255, 255, 255))
        flat.alpha_composite(layer)
        flat.info = picture.info
        picture = flat
    return picture


def _upright(picture: Image) -> Image:
    turned: Image = import_module("PIL.ImageOps").exif_transpose(picture)
    return turned.convert("RGB")


def _read_sound(data: bytes, limits: MediaLimits) -> tuple[Found, bytes]:
    soundfile = import_module("soundfile")
    if data.startswith(b"RIFF"):
        _check_wav_length(data)
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        rate, channels = sound.samplerate, sound.channels
        if not 1 <= channels <= limits.channels:
            raise RefusedError("channels", channels)
        if not limits.lowest_rate <= rate <= limits.highest_rate:
            raise RefusedError("rate", rate)
        most = int(limits.seconds * rate)
        if data.startswith(b"fLaC") and sound.frames > most:
            raise RefusedError("seconds", sound.frames / rate)
        # Read one sample more than allowed, however many the header promises: some promise 2**63.
        elements = sound.read(min(sound.frames, most + 1), dtype="float32", always_2d=True)
        samples = len(elements)
        if samples > most:
            raise RefusedError("seconds", max(sound.frames, samples) / rate)
        if data.startswith(b"fLaC") and samples < sound.frames:
            raise RefusedError("truncated")
    if not samples:
        raise RefusedError("empty")
    mono = elements.clip(-1, 1).mean(axis=1, dtype="float32")
    if not math.isfinite(mono.sum()):
        raise RefusedError("unreadable")
    return {"rate": rate, "channels": channels, "samples": samples}, mono.astype("<f4").tobytes()


def _check_wav_length(data: bytes) -> None:
    """Refuse a WAV that ends before its samples do; the library would read the rest as if that were all."""
    place = 12
    while place + 8 <= len(data):
        name, size = data[place : place + 4], struct.unpack_from("<I", data, place + 4)[0]
        if name == b"data":
            if size < _STREAMING and place + 8 + size > len(data):
                raise RefusedError("truncated")
            return
        place += 8 + size + size % 2
    raise RefusedError("truncated")


def _read_clip(container_format: str) -> Reader:
    def read(data: bytes, limits: MediaLimits) -> tuple[Found, bytes]:
        av = import_module("av")
        with av.open(io.BytesIO(data), format=container_format) as container:
            if not container.streams.video:
                raise RefusedError("empty")
            stream = container.streams.video[0]
            # More threads than one cannot be started here, and would make the frames' memory theirs.
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            width, height = _check_clip(container, stream, limits)
            frames, last = _frames(container, stream, width, height, limits)
            if not frames:
                raise RefusedError("empty")
            seconds = (container.duration or 0) / av.time_base
            if len(frames) < stream.frames or last < 0.9 * seconds - 1:
                raise RefusedError("truncated")
            rate = float(stream.average_rate or 0) or (len(frames) / seconds if seconds else 1.0)
        found = {"width": width, "height": height, "frames": len(frames), "rate": min(max(rate, 0.01), 1000.0)}
        return found, b"".join(frames)

    return read


def _check_clip(container: Any, stream: Any, limits: MediaLimits) -> tuple[int, int]:
    """Check what the header says; return the size, smaller than the clip's where all frames would be too much."""
    codec = stream.codec_context
    if codec.name not in _CODECS:
        raise RefusedError("unreadable")
    _check_sides(codec.width, codec.height, limits)
    seconds = (container.duration or 0) / 1_000_000
    if seconds > limits.seconds:
        raise RefusedError("seconds", seconds)
    if stream.frames > limits.frames:
        raise RefusedError("frames", stream.frames)
    expected = min(limits.frames, stream.frames or math.ceil(seconds * float(stream.average_rate or 30)) + 1)
    scale = min(1.0, math.sqrt(limits.clip_pixels / (expected * codec.width * codec.height)))
    return max(1, int(codec.width * scale)), max(1, int(codec.height * scale))


def _frames(container: Any, stream: Any, width: int, height: int, limits: MediaLimits) -> tuple[list[bytes], float]:
    """All frames as rows of RGB, and when the last one ends, in seconds."""
    reformat = import_module("av.video.reformatter").VideoReformatter().reformat
    frames: list[bytes] = []
    last = 0.0
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise RefusedError("truncated")
        last = max(last, (frame.time or 0.0) - (stream.start_time or 0) * float(stream.time_base))
        if len(frames) >= limits.frames:
            raise RefusedError("frames", len(frames) + 1)
        if last > limits.seconds:
            raise RefusedError("seconds", last)
        if (len(frames) + 1) * width * height > limits.clip_pixels:
            raise RefusedError("pixels", (len(frames) + 1) * width * height)
        # Its default is a thread per core, and none can be started here.
        frames.append(_rows(reformat(frame, width, height, "rgb24", threads=1)))
    return frames, last


def _rows(frame: VideoFrame) -> bytes:
    """The frame's pixels without the padding that ends each line."""
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
