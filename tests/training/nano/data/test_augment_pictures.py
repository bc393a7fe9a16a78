"""Augmented pictures and the poses of clips."""

from __future__ import annotations

import numpy as np
import pytest

from motet.training.nano.data.augment_pictures import augment, end_poses, random_patches
from motet.training.nano.world.world import MOTIONS


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_first_and_last_pose_identify_the_motion(motion: str) -> None:
    for seed in range(50):
        first, last = end_poses(motion, np.random.default_rng(seed))
        right, down = last.x - first.x, last.y - first.y
        matches = {
            "moving left": right < -12 and abs(down) < 8,
            "moving right": right > 12 and abs(down) < 8,
            "moving up": down < -12 and abs(right) < 8,
            "moving down": down > 12 and abs(right) < 8,
            "growing": last.scale > 1.5 * first.scale,
            "turning": 80 < abs(last.angle - first.angle) < 280,
        }
        assert [name for name, match in matches.items() if match] == [motion]


def test_augmentation_keeps_the_shape_and_affects_all_frames_equally() -> None:
    frames = np.stack([random_patches(np.random.default_rng(0))] * 2)

    for seed in range(30):
        augmented = augment(frames, np.random.default_rng(seed))
        assert augmented.shape == frames.shape
        assert augmented.dtype == np.uint8
        # Only the noise differs between frames.
        assert np.abs(augmented[0].astype(int) - augmented[1]).mean() < 25
