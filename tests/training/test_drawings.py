"""The pictures and clips of the nano world. Skipped where the emoji packages are not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motet.training.nano.world import clips, pictures
from motet.training.nano.world.world import BACKGROUNDS, MOTIONS, MOVERS, NOUNS

drawn = pytest.mark.skipif(
    not (pictures.folder() / "emoji-datasource-google").exists(), reason="the emoji packages are not installed"
)


def middle(frame: pictures.Picture) -> tuple[float, float]:
    """The centre (right, down) of what is not white."""
    rows, columns = np.nonzero((frame < 200).any(axis=-1))
    return float(columns.mean()), float(rows.mean())


@drawn
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_corners_of_a_picture_are_its_background(background: str) -> None:
    picture = pictures.draw("pizza", background)
    assert picture.shape == (64, 64, 3)
    assert tuple(picture[0, 0]) == BACKGROUNDS[background]


@drawn
@pytest.mark.parametrize("style", pictures.STYLES)
def test_every_noun_has_a_picture_of_its_own(style: str) -> None:
    assert len({pictures.draw(noun, "white", style).tobytes() for noun in NOUNS}) == len(NOUNS)


@drawn
@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [("moving left", 0, -1), ("moving right", 0, 1), ("moving up", 1, -1), ("moving down", 1, 1)],
)
@pytest.mark.parametrize("noun", MOVERS)
def test_a_moving_noun_travels_far_and_straight(noun: str, motion: str, axis: int, sign: int) -> None:
    frames = clips.draw(noun, motion)
    way = np.subtract(middle(frames[-1]), middle(frames[0]))
    assert 24 < sign * way[axis] < 36
    assert abs(way[1 - axis]) < 2


@drawn
@pytest.mark.parametrize("noun", MOVERS)
def test_a_growing_noun_covers_ever_more(noun: str) -> None:
    covered = [(frame < 200).any(axis=-1).sum() for frame in clips.draw(noun, "growing")]
    assert covered == sorted(covered)
    assert covered[-1] > 4 * covered[0]


@drawn
def test_turning_ends_upside_down() -> None:
    frames = clips.draw("rocket", "turning")
    difference = np.abs(frames[0].astype(int) - frames[-1][::-1, ::-1].astype(int)).mean()
    assert difference < 0.25 * np.abs(frames[0].astype(int) - frames[-1].astype(int)).mean()


@drawn
def test_no_two_clips_are_the_same() -> None:
    made = {clips.draw(noun, motion).tobytes() for noun in MOVERS for motion in MOTIONS}
    assert len(made) == len(MOVERS) * len(MOTIONS)


@drawn
def test_a_motion_that_is_not_in_the_world_is_refused() -> None:
    with pytest.raises(ValueError, match="no motion is called 'dancing'"):
        clips.draw("rocket", "dancing")


def test_without_the_packages_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_EMOJI", str(tmp_path))
    pictures._emoji.cache_clear()
    with pytest.raises(FileNotFoundError, match="npm install emoji-datasource-google"):
        pictures.draw("dog", "red")
