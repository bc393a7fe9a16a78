"""Tests of the detection of media types."""

from __future__ import annotations

import pytest

from motet.media.kinds import modality_of, normalise, sniff
from tests.media.samples import clip_file, picture_file, sound_file


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (picture_file("PNG"), "image/png"),
        (picture_file("JPEG"), "image/jpeg"),
        (picture_file("WEBP"), "image/webp"),
        (sound_file("WAV", "PCM_16"), "audio/wav"),
        (sound_file("FLAC", "PCM_16"), "audio/flac"),
        (sound_file("MP3", "MPEG_LAYER_III"), "audio/mpeg"),
        (sound_file("OGG", "VORBIS"), "audio/ogg"),
        (clip_file("mp4", "libx264"), "video/mp4"),
        (clip_file("webm", "libvpx-vp9"), "video/webm"),
        (clip_file("matroska", "libx264"), "video/x-matroska"),
        (clip_file("mov", "libx264"), "video/quicktime"),
        (clip_file("mov", "libx264")[20:], "video/quicktime"),
        (clip_file("3gp", "libx264"), "video/mp4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_type_is_detected_from_the_first_bytes(data: bytes, media_type: str) -> None:
    assert sniff(data) == media_type
    assert sniff(data[:64]) == media_type


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"hello, I am text",
        picture_file("GIF"),
        picture_file("BMP"),
        clip_file("avi", "mpeg4"),
        b"the free ride",
    ],
    ids=["no bytes", "one byte", "text", "gif", "bmp", "avi", "text like a box"],
)
def test_bytes_of_an_unsupported_type_have_no_type(data: bytes) -> None:
    assert sniff(data) is None


def test_a_heic_picture_is_not_an_mp4() -> None:
    assert sniff(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic") is None


def test_parameters_capitals_and_aliases_of_a_declared_type_are_resolved() -> None:
    assert normalise("Audio/X-WAV; codecs=1") == "audio/wav"
    assert normalise("application/octet-stream") == ""
    assert modality_of("IMAGE/JPG") == "image"
    assert modality_of("text/plain") is None
