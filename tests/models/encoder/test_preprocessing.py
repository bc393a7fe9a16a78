"""ImageBind's preprocessing."""

import numpy as np
import pytest
import torch
from PIL import Image

from motet.core.preprocessing import Preprocessing
from motet.models.encoder.network import SoundConfig
from motet.models.encoder.preprocessing import clip_views, picture_views, sound_views

SOUND = SoundConfig(16, 1, 2)


def test_a_picture_is_scaled_by_its_shorter_side_and_cropped_at_the_centre() -> None:
    picture = np.zeros((40, 120, 3), np.uint8)
    picture[:, 40:80] = 255

    views = picture_views(picture, 20)

    assert views.pixels.shape == (1, 3, 20, 20)
    # The middle third is white. After CLIP's normalisation, white is one high value per channel.
    assert views.pixels[0, :, 2:-2, 2:-2].amin() > 1.9


def test_a_short_sound_has_one_view() -> None:
    views = sound_views(np.random.default_rng(0).normal(0, 0.1, 30_000).astype(np.float32), 16_000, SOUND)

    assert views.pixels.shape == (1, 1, 128, 204)
    assert views.weights.tolist() == [1.0]


def test_a_long_sound_has_three_views() -> None:
    views = sound_views(np.random.default_rng(0).normal(0, 0.1, 64_000).astype(np.float32), 16_000, SOUND)

    assert views.pixels.shape == (3, 1, 128, 204)
    torch.testing.assert_close(views.weights, torch.full((3,), 1 / 3))


def test_sounds_are_padded_with_zeros_before_their_normalisation() -> None:
    views = sound_views(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32), 16_000, SOUND)

    assert views.pixels[0, 0, :, -1].unique().item() == pytest.approx(4.268 / 9.138)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_tone_has_equal_views_at_every_sample_rate(rate: int) -> None:
    def tone(rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate).astype(np.float32)

    actual = sound_views(tone(rate), rate, SOUND).pixels[0, 0, :60, 10:190]
    expected = sound_views(tone(16_000), 16_000, SOUND).pixels[0, 0, :60, 10:190]

    assert int(actual.mean(1).argmax()) == int(expected.mean(1).argmax())
    assert actual.amax() == pytest.approx(expected.amax().item(), abs=0.03)


def test_a_square_clip_of_two_seconds_has_one_view() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3)).astype(np.uint8)

    views = clip_views(frames, 4.0, 16)

    assert views.pixels.shape == (1, 3, 2, 16, 16)
    # The view has only the first and the last frame.
    first = clip_views(frames[[0, 0]], 1.0, 16).pixels[0, :, 0]
    last = clip_views(frames[[7, 7]], 1.0, 16).pixels[0, :, 0]
    torch.testing.assert_close(views.pixels[0], torch.stack([first, last], dim=1))


def test_a_long_wide_clip_has_views_of_five_clips_with_three_crops_each() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (40, 20, 60, 3)).astype(np.uint8)

    views = clip_views(frames, 4.0, 16)

    assert views.pixels.shape == (15, 3, 2, 16, 16)
    torch.testing.assert_close(views.weights, torch.full((15,), 1 / 15))


def test_a_clip_of_one_frame_has_the_view_of_a_picture() -> None:
    frames = np.full((1, 20, 30, 3), 128, np.uint8)

    views = clip_views(frames, 25.0, 16)

    torch.testing.assert_close(views.pixels[:, :, 0], views.pixels[:, :, 1])


@pytest.mark.parametrize(("sides", "expected"), [((49, 98), 128), ((98, 147), 96), ((3, 2), 96), ((64, 64), 64)])
def test_the_longer_side_of_a_picture_is_rounded_down_exactly(sides: tuple[int, int], expected: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*sides, 3), np.uint8)
    scaled = np.asarray(Image.fromarray(picture).resize(_turned(sides, 64, expected), Image.Resampling.BICUBIC))
    top, left = round((scaled.shape[0] - 64) / 2), round((scaled.shape[1] - 64) / 2)

    np.testing.assert_array_equal(
        picture_views(picture, 64).pixels,
        picture_views(scaled[top : top + 64, left : left + 64], 64).pixels,
    )


def _turned(sides: tuple[int, int], size: int, long: int) -> tuple[int, int]:
    """Return width and height of a picture whose shorter side is scaled to `size`, and its longer side to `long`."""
    height, width = sides
    return (size, long) if width <= height else (long, size)


def test_the_parts_of_a_sound_start_at_exact_samples() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 70_003).astype(np.float32)  # the middle starts at 19001.5 samples
    starts = [0, 19_001, 38_003]

    views = sound_views(sound, 16_000, SOUND)

    for view, start in zip(views.pixels, starts, strict=True):
        torch.testing.assert_close(view, sound_views(sound[start : start + 32_000], 16_000, SOUND).pixels[0])


def test_a_sound_of_nextgpt_v0_is_not_read_to_its_end() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 80_000).astype(np.float32)

    views = sound_views(sound, 16_000, SOUND, Preprocessing(clip_starts="before_end"))

    for view, start in zip(views.pixels, (0, 16_000, 32_000), strict=True):
        torch.testing.assert_close(view, sound_views(sound[start : start + 32_000], 16_000, SOUND).pixels[0])
