"""The encoding of generated arrays as media. Equal arrays give equal bytes, in any process on one machine."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import numpy as np
from av import VideoStream
from av.container import OutputContainer
from numpy.typing import NDArray
from PIL import Image

from motet.core.media import Media
from motet.media.fit import fit_sound
from motet.media.kinds import JPEG, MP4, PNG, WAV

Picture = NDArray[np.uint8]
Sound = NDArray[np.float32]
Clip = NDArray[np.uint8]

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
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
    buffer = io.BytesIO()
    with _new_mp4(buffer) as container:
        for _ in _write_frames(container, _add_video(container, clip, rate), clip):
            pass
    return Media(MP4, buffer.getvalue())


def encode_film(
    clip: Clip, rate: float, sound: Sound, sound_rate: int, on_frame: Callable[[int], None] = lambda frames: None
) -> Media:
    """Encode a clip with a sound, float32 of shape (samples,) at `sound_rate` Hz, as H.264 and AAC in MP4.

    The clip decides the length, see `fit_sound`. `on_frame` is called after each frame, with the number of frames so
    far. An error that it raises stops the encoding.
    """
    buffer = io.BytesIO()
    with _new_mp4(buffer) as container:
        video = _add_video(container, clip, rate)
        # AAC has only these rates. The encoder resamples other sounds.
        aac_rate = next((each for each in _AAC_RATES if each >= sound_rate), _AAC_RATES[-1])
        options = {"threads": "1", "flags": "+bitexact"}
        audio = container.add_stream("aac", aac_rate, options, layout="mono")
        for frames in _write_frames(container, video, clip):
            on_frame(frames)
        fitted = fit_sound(sound, round(len(clip) / _exact(rate) * sound_rate))
        samples = av.AudioFrame.from_ndarray(np.clip(fitted, -1, 1)[None], "fltp", "mono")
        samples.sample_rate, samples.pts = sound_rate, 0
        container.mux(audio.encode(samples))
        container.mux(audio.encode())
    return Media(MP4, buffer.getvalue())


def _new_mp4(buffer: io.BytesIO) -> OutputContainer:
    # "+bitexact" leaves out the muxer's version.
    return av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"})


def _exact(rate: float) -> Fraction:
    return Fraction(rate).limit_denominator(1001)


def _add_video(container: OutputContainer, clip: Clip, rate: float) -> VideoStream:
    """Add the stream of a clip, with even sides."""
    _check_shape(clip, 4, "a clip")
    # With several threads x264 writes other bytes. With its lookahead, some clips get other bytes (about one in ten),
    # because its assembly code reads uninitialised memory.
    options = {"crf": "17", "preset": "medium", "threads": "1", "x264-params": _REPEATABLE}
    stream = container.add_stream("libx264", _exact(rate), options)
    height, width = clip.shape[1:3]
    stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
    return stream


def _write_frames(container: OutputContainer, stream: VideoStream, clip: Clip) -> Iterator[int]:
    """Write the frames of a clip. Yield the number of frames so far after each frame."""
    even = np.pad(clip, ((0, 0), (0, clip.shape[1] % 2), (0, clip.shape[2] % 2), (0, 0)), "edge")
    for number, frame in enumerate(even, 1):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        yield number
    container.mux(stream.encode())


def _check_shape(array: NDArray[np.uint8], dimensions: int, name: str) -> None:
    if array.dtype != np.uint8 or array.ndim != dimensions or array.shape[-1] != 3 or not array.size:
        raise ValueError(f"{name} must be uint8 with {dimensions} axes, the last of 3 colours; got {array.shape}")
