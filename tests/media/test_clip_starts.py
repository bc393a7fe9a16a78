"""Tests of the parts of a recording that an encoder reads."""

from __future__ import annotations

from fractions import Fraction

import pytest

from motet.core.preprocessing import Preprocessing
from motet.media.clip_starts import ends_of_parts, starts_of_parts

REFERENCE = Preprocessing()


@pytest.mark.parametrize(
    ("seconds", "parts", "starts"),
    [(1.5, 3, [0, 0, 0]), (2, 5, [0] * 5), (4, 3, [0, 1, 2]), (10, 5, [0, 2, 4, 6, 8])],
)
def test_parts_are_evenly_spaced(seconds: float, parts: int, starts: list[float]) -> None:
    assert starts_of_parts(seconds, parts, REFERENCE) == starts


def test_starts_are_exact() -> None:
    assert starts_of_parts(41_237 / 16_000, 3, REFERENCE)[1] == (Fraction(41_237 / 16_000) - 2) / 2


def test_the_parts_of_pytorchvideo_0_1_5_end_before_the_recording() -> None:
    assert starts_of_parts(10, 5, Preprocessing(clip_starts="before_end")) == [Fraction(8 * i, 5) for i in range(5)]


def test_a_part_of_a_clip_has_its_first_and_its_last_frame() -> None:
    assert ends_of_parts(40, 10.0, REFERENCE) == [(0, 19), (5, 24), (10, 29), (15, 34), (20, 39)]
    assert ends_of_parts(8, 4.0, REFERENCE) == [(0, 7)] * 5
    assert ends_of_parts(1, 25.0, REFERENCE) == [(0, 0)] * 5
    assert ends_of_parts(3, 0.2, REFERENCE)[-1] == (2, 2)
