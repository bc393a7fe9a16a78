"""The training data of the clip denoiser. Skipped if the emoji packages are not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.training.nano.recipes.denoiser import load_initial
from motet.training.nano.recipes.denoiser_tasks.video import VideoTask, _clip
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.outside_nouns import OUTSIDE_NOUNS
from motet.training.nano.world.world import MOTIONS, MOVERS, Thing, held_out, things_without_manner
from tests.training.nano.packages import needs_emoji

torch.set_num_threads(1)


@pytest.fixture
def captions(tmp_path: Path) -> set[str]:
    task = VideoTask(tmp_path)
    return {caption for seed in range(30) for caption in task.batch(np.random.default_rng(seed)).captions}


@needs_emoji
def test_a_caption_omits_the_noun_if_the_opposite_motion_is_held_out(tmp_path: Path) -> None:
    task = VideoTask(tmp_path)

    def captions(motion: str) -> set[str]:
        thing = Thing("video", "red apple", motion)
        return {task._caption(thing, np.random.default_rng(seed)) for seed in range(40)}

    assert held_out(Thing("video", "red apple", "moving left"))
    assert captions("moving right") == {"a thing moving right"}
    assert captions("moving up") == {"a thing moving up", "a red apple moving up"}


@needs_emoji
def test_some_clips_show_nouns_at_rest(captions: set[str]) -> None:
    assert len(captions & {thing.caption for thing in things_without_manner("video")}) > 3


@needs_emoji
def test_a_noun_without_a_motion_rests_or_rocks() -> None:
    drawn = [_clip(Thing("video", "heart", ""), np.random.default_rng(seed)) for seed in range(30)]

    assert 5 < sum((clip == clip[0]).all() for clip in drawn) < 25


@needs_emoji
def test_half_of_the_clips_begin_with_a_picture_and_their_captions_name_no_noun(tmp_path: Path) -> None:
    task = VideoTask(tmp_path)
    batches = [task.batch(np.random.default_rng(seed)) for seed in range(20)]
    animated = 0
    for batch in batches:
        assert batch.first_frames is not None
        for latents, caption, first in zip(batch.latents, batch.captions, batch.first_frames, strict=True):
            if first.any():
                animated += 1
                assert caption.removeprefix("a thing ") in MOTIONS
                assert latents[:, 0].abs().mean() < 0.15
    assert 0.35 < animated / sum(len(batch.captions) for batch in batches) < 0.65


@needs_emoji
def test_no_animation_shows_a_held_out_picture_or_motion(tmp_path: Path) -> None:
    task = VideoTask(tmp_path)
    shown = [thing for seed in range(200) for _, thing in task._animated_pair(np.random.default_rng(seed))]

    assert {thing.manner for thing in shown} == set(MOTIONS)
    assert not any(map(held_out, shown))


@needs_emoji
def test_half_of_the_animations_turn_and_two_of_one_motion_begin_with_different_frames(tmp_path: Path) -> None:
    task = VideoTask(tmp_path)
    pairs = [task._animated_pair(np.random.default_rng(seed)) for seed in range(200)]
    turning = [thing.manner == "turning" for pair in pairs for _, thing in pair]
    different = [
        not np.array_equal(first[0], second[0]) for (first, one), (second, two) in pairs if one.manner == two.manner
    ]

    assert 0.4 < np.mean(turning) < 0.6
    assert 20 < len(different) < 120
    assert np.mean(different) > 0.9


@needs_emoji
@pytest.mark.parametrize("known", [True, False], ids=["nouns of clips", "other nouns"])
def test_many_clips_turn_and_none_is_held_out(tmp_path: Path, known: bool) -> None:
    task = VideoTask(tmp_path)
    shown = [thing for seed in range(400) for thing in task._pair(np.random.default_rng(seed)) if thing.manner]
    chosen = [thing for thing in shown if (thing.subject in MOVERS) == known]

    assert len(chosen) > 100
    assert not any(map(held_out, chosen))
    assert 0.2 < np.mean([thing.manner == "turning" for thing in chosen]) < 0.6


@needs_emoji
def test_half_of_the_animations_and_some_clips_show_nouns_outside_the_world(tmp_path: Path) -> None:
    task = VideoTask(tmp_path)
    clips = [thing for seed in range(400) for thing in task._pair(np.random.default_rng(seed))]
    animations = [thing for seed in range(100) for _, thing in task._animated_pair(np.random.default_rng(seed))]

    assert 0.4 < np.mean([thing.subject in OUTSIDE_NOUNS for thing in animations]) < 0.6
    assert 0.1 < np.mean([thing.subject in OUTSIDE_NOUNS for thing in clips]) < 0.2


@needs_emoji
def test_some_pairs_of_clips_are_two_turning_nouns(tmp_path: Path) -> None:
    task = VideoTask(tmp_path)
    pairs = [task._pair(np.random.default_rng(seed)) for seed in range(200)]

    assert sum({one.manner, other.manner} == {"turning"} and one.subject != other.subject for one, other in pairs) > 20


def test_a_widened_denoiser_begins_with_the_outputs_of_the_narrower_one(tmp_path: Path) -> None:
    trained = load_file("bundles/nano/decoders/video/unet/diffusion_pytorch_model.safetensors")
    narrow = trained | {"conv_in.weight": trained["conv_in.weight"][:, :48].contiguous()}
    save_file(narrow, tmp_path / "diffusion_pytorch_model.safetensors")
    task = VideoTask.__new__(VideoTask)  # Without the emoji packages, which only its data need.
    denoiser = task.denoiser().eval()
    torch.manual_seed(0)
    noisy, conditioning = torch.randn(1, *task.shape), caption_encoder.encode("video", ["a bee growing"])
    load_initial(denoiser, tmp_path)

    with torch.no_grad():
        plain = task.predict(denoiser, noisy, torch.tensor([500]), conditioning)
        with_picture = task.predict(denoiser, noisy, torch.tensor([500]), conditioning, torch.randn(1, 48, 8, 8))

    torch.testing.assert_close(plain, with_picture)
    assert plain.std() > 0.1
