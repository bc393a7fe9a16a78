"""Tests of media that one process probes and encodes."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from motet.core.errors import MediaError
from motet.core.media import Media
from motet.core.preprocessing import Preprocessing
from motet.media import decoded_media
from motet.media.decode import decode_clip_ends, decode_picture, decode_sound, probe
from motet.media.limits import DEFAULT_LIMITS, MediaLimits
from tests.media.children import children_started
from tests.media.samples import PICTURE, clip_file, picture_file, sound_file

DECODERS = (decode_picture, decode_sound, decode_clip_ends)


async def test_media_are_decoded_once_for_a_probe_and_the_next_decoding() -> None:
    media = [
        Media("", data) for data in (picture_file("PNG"), sound_file("WAV", "PCM_16"), clip_file("mp4", "libx264"))
    ]
    expected = [await decode(item) for decode, item in zip(DECODERS, media, strict=True)]

    with children_started() as children:
        for item in media:
            await probe(item, keep=True)
        decoded = [await decode(item) for decode, item in zip(DECODERS, media, strict=True)]

    assert len(children) == 3
    np.testing.assert_equal(decoded[:2], expected[:2])
    np.testing.assert_equal(decoded[2].frames, expected[2].frames)


async def test_a_kept_decoding_is_used_once_and_only_for_equal_bytes_limits_preprocessing_and_tenant() -> None:
    media = Media("", picture_file("PNG"))
    await probe(media, keep=True)

    with children_started() as children:
        await decode_picture(Media("", picture_file("PNG", PICTURE[::-1])))
        await decode_picture(media, MediaLimits(pixels=10_000))
        await decode_picture(media, preprocessing=Preprocessing())
        await decode_picture(media, tenant="other")
    assert len(children) == 4

    with children_started() as children:
        await decode_picture(media)
        await decode_picture(media)
    assert len(children) == 1


async def test_a_probe_keeps_nothing_by_default() -> None:
    media = Media("", picture_file("PNG"))
    await probe(media)

    with children_started() as children:
        await decode_picture(media)

    assert len(children) == 1


async def test_a_kept_decoding_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_media, "LIFETIME", 0.0)
    media = Media("", picture_file("PNG"))
    await probe(media, keep=True)
    await asyncio.sleep(0.001)

    with children_started() as children:
        await decode_picture(media)

    assert len(children) == 1


async def test_a_kept_picture_is_still_refused_as_a_sound() -> None:
    media = Media("", picture_file("PNG"))
    await probe(media, keep=True)

    with pytest.raises(MediaError, match="must be audio here"):
        await decode_sound(media)


def test_the_largest_clip_fits_into_the_cache() -> None:
    assert DEFAULT_LIMITS.clip_pixels * 3 <= decoded_media.MAX_BYTES


async def test_a_tenant_with_many_decoded_media_evicts_only_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_media, "MAX_BYTES", 3 * PICTURE.size)
    media = Media("", picture_file("PNG"))
    await probe(media, keep=True, tenant="modest")
    for shade in range(4):
        await probe(Media("", picture_file("PNG", PICTURE // np.uint8(shade + 2))), keep=True, tenant="greedy")

    with children_started() as children:
        await decode_picture(media, tenant="modest")

    assert children == []
