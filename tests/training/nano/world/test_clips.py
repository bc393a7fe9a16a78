"""Clips of the nano world. Skipped if the emoji packages are not installed."""

from __future__ import annotations

import numpy as np
import pytest

from motet.training.nano.world import clips, pictures
from motet.training.nano.world.world import BACKGROUNDS, MOTIONS, MOVERS
from tests.training.nano.packages import needs_emoji


def centre(frame: pictures.Picture) -> tuple[float, float]:
    """Return the centre (right, down) of the pixels that are not white."""
    rows, columns = np.nonzero((frame < 200).any(axis=-1))
    return float(columns.mean()), float(rows.mean())


@needs_emoji
@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [("moving left", 0, -1), ("moving right", 0, 1), ("moving up", 1, -1), ("moving down", 1, 1)],
)
@pytest.mark.parametrize("noun", MOVERS)
def test_a_moving_noun_travels_far_and_straight(noun: str, motion: str, axis: int, sign: int) -> None:
    frames = clips.draw(noun, motion)
    path = np.subtract(centre(frames[-1]), centre(frames[0]))
    assert 24 < sign * path[axis] < 36
    assert abs(path[1 - axis]) < 2


@needs_emoji
@pytest.mark.parametrize("noun", MOVERS)
def test_a_growing_noun_covers_more_pixels_in_each_frame(noun: str) -> None:
    covered = [(frame < 200).any(axis=-1).sum() for frame in clips.draw(noun, "growing")]
    assert covered == sorted(covered)
    assert covered[-1] > 4 * covered[0]


@needs_emoji
def test_turning_ends_upside_down() -> None:
    frames = clips.draw("rocket", "turning")
    difference = np.abs(frames[0].astype(int) - frames[-1][::-1, ::-1].astype(int)).mean()
    assert difference < 0.25 * np.abs(frames[0].astype(int) - frames[-1].astype(int)).mean()


@needs_emoji
def test_a_noun_at_rest_has_the_same_pose_in_all_frames() -> None:
    upright, upside_down = (clips.at_rest("heart", frame) for frame in (0, clips.FRAMES - 1))
    assert (upside_down == upside_down[0]).all()
    assert (upside_down[:, ::-1, ::-1] == upright).all()
    assert (upside_down != upright).any()


@needs_emoji
def test_a_rocking_noun_leans_to_both_sides_and_returns() -> None:
    frames = clips.rocking("rocket", angle=0, phase=0)
    leaning = clips.rocking("rocket", angle=30, phase=0.25)

    assert (frames[0] == frames[-1]).all()
    assert len({frame.tobytes() for frame in frames[:-1]}) == clips.FRAMES - 1
    assert (leaning[0] == pictures.draw("rocket", "white", scale=0.85, angle=60)).all()


@needs_emoji
def test_no_two_clips_are_equal() -> None:
    drawn = {clips.draw(noun, motion).tobytes() for noun in MOVERS for motion in MOTIONS}
    assert len(drawn) == len(MOVERS) * len(MOTIONS)


@needs_emoji
def test_an_unknown_motion_is_an_error() -> None:
    with pytest.raises(ValueError, match="no motion is called 'dancing'"):
        clips.draw("rocket", "dancing")


@needs_emoji
@pytest.mark.parametrize("motion", MOTIONS)
def test_an_animation_begins_with_its_picture_and_keeps_the_background(motion: str) -> None:
    frames = clips.animate("cat", "blue", motion, offset=(2, 0))

    assert (frames[0] == pictures.draw("cat", "blue", offset=(2, 0))).all()
    assert (frames[-1] != frames[0]).any()
    assert (frames[:, 0, 0] == BACKGROUNDS["blue"]).all()
