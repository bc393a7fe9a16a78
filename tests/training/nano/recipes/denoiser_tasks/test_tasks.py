"""The training data and the networks of the denoising tasks of pictures and clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motet.training.nano.recipes.denoiser import DENOISER_TASKS, losses, sample
from motet.training.nano.recipes.denoiser_tasks.task import DenoiserTask
from motet.training.nano.world.world import held_out, things
from tests.training.nano.packages import needs_emoji

torch.set_num_threads(1)


@pytest.fixture(
    scope="module", params=[pytest.param("image", marks=needs_emoji), pytest.param("video", marks=needs_emoji)]
)
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DenoiserTask:
    return DENOISER_TASKS[request.param](tmp_path_factory.mktemp("build"))


def test_no_batch_contains_a_held_out_thing(task: DenoiserTask) -> None:
    excluded = {thing.caption for thing in things(task.modality) if held_out(thing)}
    captions = {caption for seed in range(30) for caption in task.batch(np.random.default_rng(seed)).captions}
    assert len(captions) > 40
    assert not captions & excluded


def test_latents_have_the_shape_of_the_task_and_about_unit_variance(task: DenoiserTask) -> None:
    batch = task.batch(np.random.default_rng(0))
    assert batch.latents.shape == (len(batch.captions), *task.shape)
    assert 0.6 < batch.latents.std() < 1.4


def test_a_denoiser_has_a_loss_gradients_and_samples(task: DenoiserTask) -> None:
    torch.manual_seed(0)
    denoiser = task.denoiser()
    (loss,) = losses(denoiser, task, np.random.default_rng(0)).values()
    loss.backward()
    assert 0.5 < loss.item() < 3
    assert all(parameter.grad is not None for parameter in denoiser.parameters())
    assert sample(denoiser, task, ["a penguin on a blue background"], steps=2).shape == (1, *task.shape)
