"""Tests of clips as people have them. The right values are those that a player shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from motet.core.errors import MediaError
from motet.core.media import Media
from motet.core.preprocessing import AS_SHOWN, Preprocessing
from motet.media.clip_starts import ends_of_parts
from motet.media.decode import decode_clip, decode_clip_ends, probe
from motet.media.formats.clips import read
from motet.media.limits import DEFAULT_LIMITS, MediaLimits
from motet.media.reading import Reading
from tests.media.clips import RATE, SIDE, TURNS, clip_with, pictures, trimmed, turned

SLOW = tuple(range(0, 120, 30))  # a frame every three seconds
VARIABLE = (0, 1, 2, 3, 10, 11, 12, 30, 31, 40)


async def expect(data: bytes, expected: np.ndarray, rate: float = RATE) -> None:
    """Check the facts, all frames, and the frames that an encoder reads."""
    facts = await probe(Media("", data))
    frames, actual_rate = await decode_clip(Media("", data))
    ends = await decode_clip_ends(Media("", data))

    assert (facts.frames, facts.height, facts.width) == expected.shape[:3]
    assert facts.rate == actual_rate == ends.rate == pytest.approx(rate, rel=0.03)
    assert frames.shape == expected.shape
    assert np.abs(frames.astype(int) - expected).mean(axis=(1, 2, 3)).max() < 8
    assert len(ends) == len(expected)
    assert set(ends.frames) == {i for pair in ends_of_parts(len(expected), actual_rate, AS_SHOWN) for i in pair}
    for index, frame in ends.frames.items():
        np.testing.assert_array_equal(frame, frames[index])


@pytest.mark.parametrize(
    ("data", "frames", "rate"),
    [
        (lambda: clip_with(), 40, RATE),
        (lambda: clip_with(movflags="faststart"), 40, RATE),
        (lambda: clip_with(movflags="frag_keyframe+empty_moov"), 40, RATE),
        (lambda: clip_with(movflags="frag_keyframe+empty_moov+default_base_moof", sound=2.0), 40, RATE),
        (lambda: clip_with("mov"), 40, RATE),
        (lambda: clip_with("matroska"), 40, RATE),
        (lambda: clip_with("matroska", cover=True), 40, RATE),
        (lambda: clip_with("webm", "libvpx"), 40, RATE),
        (lambda: clip_with("webm", "libvpx-vp9", live="1"), 40, RATE),
        (lambda: clip_with(codec="mpeg4"), 40, RATE),
        (lambda: clip_with(sound=3.0), 40, RATE),
        (lambda: clip_with(sound=3.0, sound_first=True), 40, RATE),
        (lambda: clip_with(sound=15.0), 40, RATE),
        (lambda: clip_with("matroska", sound=15.0), 40, RATE),
        (lambda: clip_with("webm", "libvpx-vp9", sound=15.0), 40, RATE),
        (lambda: clip_with(frames=4, times=SLOW, last=30), 4, 1 / 3),
        (lambda: clip_with("matroska", frames=4, times=SLOW, last=30), 4, 1 / 3),
        (lambda: clip_with(frames=10, times=VARIABLE), 10, 10 / 4.1),
        (lambda: clip_with("matroska", frames=10, times=VARIABLE), 10, 10 / 4.1),
        (lambda: clip_with(frames=10, last=80), 10, 10 / 8.9),
        (lambda: clip_with("matroska", frames=10, last=80), 10, 10 / 8.9),
    ],
    ids=[
        "index at the end",
        "index at the start",
        "fragments",
        "fragments with a sound",
        "QuickTime",
        "Matroska",
        "with a cover",
        "VP8",
        "a live stream",
        "MPEG-4",
        "with a sound",
        "sound first",
        "sound longer than the picture",
        "Matroska, sound longer than the picture",
        "WebM, sound longer than the picture",
        "slow",
        "Matroska, slow",
        "variable rate",
        "Matroska, variable rate",
        "last frame of seconds",
        "Matroska, last frame of seconds",
    ],
)
async def test_a_clip_has_the_frames_and_the_rate_that_a_player_shows(
    data: Callable[[], bytes], frames: int, rate: float
) -> None:
    await expect(data(), pictures(frames), rate)


@pytest.mark.parametrize("sides", [(33, 47), (47, 33), (17, 90)])
async def test_a_clip_may_have_odd_sides(sides: tuple[int, int]) -> None:
    await expect(clip_with("webm", "libvpx-vp9", sides=sides), pictures(40, *sides))
    await expect(clip_with(codec="libx264", pixels="yuv444p", sides=sides), pictures(40, *sides))


@pytest.mark.parametrize("name", TURNS)
async def test_a_clip_of_a_rotated_camera_is_upright(name: str) -> None:
    matrix, turn = TURNS[name]

    await expect(turned(clip_with(), matrix), turn(pictures(40)))


async def test_a_clip_that_was_trimmed_without_a_new_encoding_has_the_shown_frames() -> None:
    await expect(trimmed(clip_with(), 0.7, 3.3), pictures(40)[7:])
    await expect(trimmed(clip_with(), 1.5, 1.0), pictures(40)[15:25])


async def test_a_clip_with_wrong_marks_of_key_frames_is_decoded() -> None:
    # Without the table of key frames, each frame claims to be one.
    await expect(clip_with().replace(b"stss", b"free"), pictures(40))
    await expect(clip_with(codec="mpeg4").replace(b"stss", b"free"), pictures(40))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["mp4", "matroska"])
async def test_a_truncated_clip_is_unreadable_also_with_its_index_at_the_start(kind: str, share: float) -> None:
    data = clip_with(kind, **({"movflags": "faststart"} if kind == "mp4" else {}))

    with pytest.raises(MediaError, match="truncated"):
        await probe(Media("", data[: int(len(data) * share)]))


async def test_an_encoder_s_way_decides_which_frames_are_read() -> None:
    clip = Media("", clip_with())

    to_end = await decode_clip_ends(clip, preprocessing=Preprocessing())
    before_end = await decode_clip_ends(clip, preprocessing=Preprocessing(clip_starts="before_end"))

    assert sorted(to_end.frames) == [0, 5, 10, 15, 19, 20, 24, 29, 34, 39]
    assert sorted(before_end.frames) == [0, 4, 8, 12, 16, 19, 23, 27, 31, 35]
    assert to_end[39].shape == (*SIDE, 3)


def test_only_the_packets_that_wanted_frames_need_are_decoded() -> None:
    promised: list[float] = []
    data = clip_with(frames=120)
    for output in ("elements", "views"):
        read(data, Reading("video/mp4", DEFAULT_LIMITS, AS_SHOWN, output, promised.append))

    # Ten of 120 frames are wanted. There are ten groups of twelve packets.
    assert promised[1] < 0.7 * promised[0]


async def test_the_frames_that_an_encoder_reads_have_full_size_in_long_clips() -> None:
    limits = MediaLimits(clip_pixels=12 * SIDE[0] * SIDE[1])
    clip = Media("", clip_with())

    ends = await decode_clip_ends(clip, limits)
    frames, _ = await decode_clip(clip, limits)

    assert ends[0].shape == (*SIDE, 3)
    assert frames.shape[1] < SIDE[0]
