from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from motet.media.decode import decode_clip, decode_picture, decode_sound
from motet.media.encode import encode_clip, encode_picture, encode_preview, encode_sound
from tests.media.samples import PICTURE, RATE, SOUND, clip


async def test_a_picture_comes_back_as_it_was() -> None:
    media = encode_picture(PICTURE)

    assert media.media_type == "image/png"
    np.testing.assert_array_equal(await decode_picture(media), PICTURE)


async def test_a_sound_comes_back_within_half_a_quantum() -> None:
    media = encode_sound(SOUND, RATE)
    sound, rate = await decode_sound(media)

    assert (media.media_type, rate) == ("audio/wav", RATE)
    assert np.abs(sound - SOUND).max() < 1 / 32767


async def test_a_sound_beyond_full_scale_is_clipped_and_does_not_wrap() -> None:
    sound, _ = await decode_sound(encode_sound(np.array([2.0, -2.0, 0.0], np.float32), RATE))

    np.testing.assert_allclose(sound, [1, -1, 0], atol=1e-4)


async def test_a_clip_comes_back_with_its_frames_its_rate_and_nearly_its_colours() -> None:
    pictures, rate = await decode_clip(encode_clip(clip(), 4))

    assert (pictures.shape, rate) == ((8, 48, 64, 3), 4)
    assert np.abs(pictures.astype(int) - clip()).mean() < 3


async def test_a_clip_of_odd_size_grows_by_one_line() -> None:
    pictures, _ = await decode_clip(encode_clip(clip(2, 47, 63), 4))

    assert pictures.shape == (2, 48, 64, 3)


async def test_a_preview_is_small_and_keeps_its_shape() -> None:
    preview = encode_preview(np.full((300, 600, 3), 77, np.uint8), side=100)

    assert preview.media_type == "image/jpeg"
    assert (await decode_picture(preview)).shape == (50, 100, 3)


def test_equal_clips_are_equal_bytes_whatever_memory_held_before() -> None:
    # x264's lookahead wrote other bytes about every tenth time, so once would prove little.
    seen = set()
    for size in range(1, 41):
        _ = np.random.default_rng(size).integers(0, 255, size * 9973, np.uint8)
        seen.add(encode_clip(clip(8, 64, 62), 4).data)

    assert len(seen) == 1


def test_another_process_writes_the_same_bytes() -> None:
    program = (
        "import hashlib; from motet.media.encode import *; from tests.media.samples import *;"
        "made = encode_picture(PICTURE), encode_sound(SOUND, RATE), encode_clip(clip(), 4);"
        "print(hashlib.sha256(b''.join(media.data for media in made)).hexdigest())"
    )
    made = encode_picture(PICTURE), encode_sound(SOUND, RATE), encode_clip(clip(), 4)
    here = hashlib.sha256(b"".join(media.data for media in made)).hexdigest()
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert there.strip() == here


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)], ids=["grey", "float"])
def test_what_is_not_a_picture_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture must be uint8 with 3 axes"):
        encode_picture(wrong)
