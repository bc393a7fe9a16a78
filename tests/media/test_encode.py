"""Tests of the encoding of generated media."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from motet.media.decode import decode_clip, decode_picture, decode_sound
from motet.media.encode import encode_clip, encode_picture, encode_preview, encode_sound
from tests.media.samples import PICTURE, RATE, SOUND, clip


async def test_an_encoded_picture_decodes_to_the_same_pixels() -> None:
    media = encode_picture(PICTURE)

    assert media.media_type == "image/png"
    np.testing.assert_array_equal(await decode_picture(media), PICTURE)


async def test_an_encoded_sound_decodes_within_one_quantum() -> None:
    media = encode_sound(SOUND, RATE)
    sound, rate = await decode_sound(media)

    assert (media.media_type, rate) == ("audio/wav", RATE)
    assert np.abs(sound - SOUND).max() < 1 / 32767


async def test_a_sound_beyond_full_scale_is_clipped_and_does_not_wrap_around() -> None:
    sound, _ = await decode_sound(encode_sound(np.array([2.0, -2.0, 0.0], np.float32), RATE))

    np.testing.assert_allclose(sound, [1, -1, 0], atol=1e-4)


async def test_an_encoded_clip_decodes_to_the_same_frames_and_rate_and_similar_colours() -> None:
    pictures, rate = await decode_clip(encode_clip(clip(), 4))

    assert (pictures.shape, rate) == ((8, 48, 64, 3), 4)
    assert np.abs(pictures.astype(int) - clip()).mean() < 3


async def test_a_clip_of_odd_size_gets_one_more_line() -> None:
    pictures, _ = await decode_clip(encode_clip(clip(2, 47, 63), 4))

    assert pictures.shape == (2, 48, 64, 3)


async def test_a_preview_is_small_and_keeps_its_aspect_ratio() -> None:
    preview = encode_preview(np.full((300, 600, 3), 77, np.uint8), side=100)

    assert preview.media_type == "image/jpeg"
    assert (await decode_picture(preview)).shape == (50, 100, 3)


def test_equal_clips_give_equal_bytes_with_any_former_content_of_memory() -> None:
    # With x264's lookahead about one encoding in ten had other bytes, so a few encodings would prove little.
    encodings = set()
    for size in range(1, 41):
        _ = np.random.default_rng(size).integers(0, 255, size * 9973, np.uint8)
        encodings.add(encode_clip(clip(8, 64, 62), 4).data)

    assert len(encodings) == 1


def test_another_process_gives_the_same_bytes() -> None:
    program = (
        "import hashlib; from motet.media.encode import *; from tests.media.samples import *;"
        "media = encode_picture(PICTURE), encode_sound(SOUND, RATE), encode_clip(clip(), 4);"
        "print(hashlib.sha256(b''.join(item.data for item in media)).hexdigest())"
    )
    media = encode_picture(PICTURE), encode_sound(SOUND, RATE), encode_clip(clip(), 4)
    expected = hashlib.sha256(b"".join(item.data for item in media)).hexdigest()
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert output.strip() == expected


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)], ids=["grey", "float"])
def test_an_array_of_a_wrong_shape_or_type_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture must be uint8 with 3 axes"):
        encode_picture(wrong)
