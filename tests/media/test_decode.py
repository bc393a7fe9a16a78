"""Tests of the decoding of valid media."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from motet.core.errors import MediaError
from motet.core.media import Media
from motet.core.preprocessing import Preprocessing
from motet.media.decode import decode_clip, decode_picture, decode_sound, probe
from tests.media.samples import (
    PICTURE,
    RATE,
    SOUND,
    clip,
    clip_file,
    flac_of_unknown_length,
    picture_file,
    sound_file,
    wav_with_list_first,
)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
async def test_a_lossless_picture_is_decoded_exactly(kind: str, options: dict[str, bool]) -> None:
    picture = await decode_picture(Media("", picture_file(kind, **options)))

    np.testing.assert_array_equal(picture, PICTURE)


async def test_transparent_pixels_become_white() -> None:
    half = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    half.putpixel((1, 0), (10, 20, 30, 0))
    buffer = io.BytesIO()
    half.save(buffer, "PNG")

    assert (await decode_picture(Media("", buffer.getvalue()))).tolist() == [[[10, 20, 30], [255, 255, 255]]]


async def test_a_photo_of_a_rotated_camera_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees

    picture = await decode_picture(Media("", picture_file("JPEG", exif=exif)))

    assert picture.shape == (64, 48, 3)


async def test_16_bit_grey_is_scaled_not_clipped() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)).save(buffer, "PNG")

    assert (await decode_picture(Media("", buffer.getvalue())))[0, :, 0].tolist() == [0, 127, 255]


async def test_the_first_picture_of_an_animated_png_is_decoded() -> None:
    later = [Image.new("RGB", (64, 48), (value, 0, 0)) for value in range(20)]
    data = picture_file("PNG", save_all=True, append_images=later)

    np.testing.assert_array_equal(await decode_picture(Media("image/png", data)), PICTURE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "CMYK"])
async def test_a_picture_of_any_mode_becomes_rgb(mode: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(buffer, "JPEG" if mode == "CMYK" else "PNG")

    assert (await decode_picture(Media("", buffer.getvalue()))).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")],
)
async def test_the_channels_of_a_sound_are_averaged(kind: str, subtype: str) -> None:
    stereo = np.stack([SOUND, np.zeros_like(SOUND)], axis=1)

    sound, rate = await decode_sound(Media("", sound_file(kind, subtype, stereo)))

    assert rate == RATE
    assert abs(len(sound) - len(SOUND)) < 3000
    assert np.abs(sound).max() == pytest.approx(0.25, abs=0.05)


async def test_an_encoder_of_the_reference_reads_the_first_channel() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, len(SOUND)).astype(np.float32)
    stereo = Media("", sound_file("WAV", "FLOAT", np.stack([SOUND, noise], axis=1)))

    sound, _ = await decode_sound(stereo, preprocessing=Preprocessing())

    np.testing.assert_array_equal(sound, SOUND)


async def test_an_encoder_of_the_reference_drops_transparency_and_orientation() -> None:
    layers = np.random.default_rng(1).integers(0, 255, (4, 6, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(layers, "RGBA").save(buffer, "PNG", exif=exif)
    media = Media("", buffer.getvalue())

    np.testing.assert_array_equal(await decode_picture(media, preprocessing=Preprocessing()), layers[:, :, :3])
    assert (await decode_picture(media)).shape == (6, 4, 3)


async def test_a_wav_with_a_list_before_its_format_is_decoded() -> None:
    samples = (np.arange(1600) * 7).astype("<i2")

    sound, rate = await decode_sound(Media("", wav_with_list_first(samples.tobytes())))

    assert rate == RATE
    np.testing.assert_allclose(sound, samples / 32_768)


async def test_a_flac_of_unknown_length_is_decoded_to_its_end() -> None:
    sound, _ = await decode_sound(Media("", flac_of_unknown_length()))
    np.testing.assert_allclose(sound, SOUND, atol=1e-4)

    with pytest.raises(MediaError, match="lasts 6[0-9] s; at most 60 s"):
        await decode_sound(Media("", flac_of_unknown_length(np.tile(SOUND, 62))))


async def test_a_sound_beyond_full_scale_is_clipped_and_a_sound_with_nan_is_refused() -> None:
    loud, _ = await decode_sound(Media("", sound_file("WAV", "FLOAT", SOUND * 1e6)))
    assert np.abs(loud).max() == 1

    with pytest.raises(MediaError, match="audio/wav cannot be decoded"):
        await decode_sound(Media("", sound_file("WAV", "FLOAT", SOUND * np.float32("nan"))))


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9"), ("webm", "libvpx")])
async def test_a_clip_is_decoded_with_its_frames_and_rate(kind: str, codec: str) -> None:
    pictures, rate = await decode_clip(Media("", clip_file(kind, codec)))

    assert (pictures.shape, rate) == ((8, 48, 64, 3), 8)
    assert np.abs(pictures.astype(int) - clip()).mean() < 6


async def test_a_probe_returns_the_type_of_the_bytes_if_another_type_of_the_modality_was_declared() -> None:
    picture = await probe(Media("image/jpeg", picture_file("PNG")))
    sound = await probe(Media("", sound_file("FLAC", "PCM_16")))
    clip_result = await probe(Media("video/mp4; codecs=avc1", clip_file("mp4", "libx264")))

    assert (picture.media_type, picture.width, picture.height) == ("image/png", 64, 48)
    assert (sound.modality, sound.samples, sound.channels, sound.seconds) == ("audio", RATE, 1, 1.0)
    assert (clip_result.modality, clip_result.frames, clip_result.rate, clip_result.seconds) == ("video", 8, 8.0, 1.0)
