"""The training data of the clip denoiser. Skipped if the emoji packages are not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from motet.training.nano.recipes.denoiser_tasks.video import VideoTask
from motet.training.nano.world.world import Thing, held_out, things_without_manner
from tests.training.nano.packages import needs_emoji

torch.set_num_threads(1)


@pytest.fixture
def captions(tmp_path: Path) -> set[str]:
    task = VideoTask(tmp_path)
    return {caption for seed in range(30) for caption in task.batch(np.random.default_rng(seed))[1]}


@needs_emoji
def test_a_caption_omits_the_noun_if_the_opposite_motion_is_held_out(captions: set[str]) -> None:
    assert held_out(Thing("video", "red apple", "moving left"))
    assert "a red apple moving right" not in captions
    assert "a red apple moving up" in captions
    assert "a thing moving right" in captions


@needs_emoji
def test_some_clips_show_nouns_at_rest(captions: set[str]) -> None:
    assert len(captions & {thing.caption for thing in things_without_manner("video")}) > 3
