"""The training loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from motet.training.loop import Schedule, TrainingLoop, load_weights, newest_checkpoint

SCHEDULE = Schedule(steps=40, rate=0.2, warmup=5, average=0.9)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(1))
        self.fixed = nn.Parameter(torch.ones(1), requires_grad=False)


def losses(line: Line, rng: np.random.Generator) -> Mapping[str, Tensor]:
    x = torch.from_numpy(rng.standard_normal(8)).float() + torch.randn(8)
    return {"error": ((line.slope * x - 3 * x) ** 2).mean()}


class Plane(nn.Module):
    """A module with a matrix for Muon and a vector for AdamW."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.slope = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x) * self.slope
        return y


def train_plane(folder: Path, steps: int = 40) -> Plane:
    torch.manual_seed(0)
    plane = Plane()
    loop = TrainingLoop(plane, folder, SCHEDULE, hidden="inner.")
    loop.resume()
    while loop.step < steps:
        loop._advance(lambda rng: {"error": (plane(torch.randn(8, 4)) - 1).square().mean()})
    loop.save()
    return plane


def train(folder: Path, steps: int = 40) -> Line:
    line = Line()
    loop = TrainingLoop(line, folder, SCHEDULE)
    loop.resume()
    while loop.step < steps:
        loop._advance(lambda rng: losses(line, rng))
    loop.save()
    return line


def test_training_changes_no_frozen_parameter(tmp_path: Path) -> None:
    line = train(tmp_path)
    assert line.slope.item() > 1
    assert line.fixed.item() == 1


def test_a_stopped_training_resumes_to_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    train(tmp_path / "parts", steps=17)
    parts = train(tmp_path / "parts")
    assert torch.equal(whole.slope, parts.slope)
    assert load_weights(tmp_path / "whole").keys() == {"slope"}
    assert torch.equal(load_weights(tmp_path / "whole")["slope"], load_weights(tmp_path / "parts")["slope"])


def test_a_training_with_muon_resumes_to_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train_plane(tmp_path / "whole")
    train_plane(tmp_path / "parts", steps=17)
    parts = train_plane(tmp_path / "parts")
    assert torch.equal(whole.inner.weight, parts.inner.weight)
    assert torch.equal(whole.slope, parts.slope)
    names = load_file(next((tmp_path / "parts").glob("step-*")) / "optimizer.safetensors").keys()
    assert {"inner.weight.momentum_buffer", "inner.bias.exp_avg", "slope.exp_avg"} <= set(names)


def test_an_incomplete_checkpoint_is_ignored(tmp_path: Path) -> None:
    train(tmp_path, steps=10)
    incomplete = tmp_path / "step-00000020"
    incomplete.mkdir()
    (incomplete / "model.safetensors").write_bytes(b"half")
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.name == "step-00000010"


def test_only_the_newest_checkpoint_is_kept(tmp_path: Path) -> None:
    train(tmp_path, steps=10)
    train(tmp_path, steps=20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000020"]


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the training"):
        load_weights(tmp_path)


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    line = Line()
    loop = TrainingLoop(line, tmp_path, SCHEDULE)
    with pytest.raises(FloatingPointError, match="step 0"):
        loop.run(lambda rng: {"error": line.slope.sum() / 0})


def test_the_rate_rises_then_falls_to_zero_by_steps_or_by_time() -> None:
    schedule = Schedule(steps=100, rate=1, warmup=10, minutes=1)
    assert schedule.factor(0, 0) == pytest.approx(0.1)
    assert schedule.factor(10, 0) > schedule.factor(50, 0) > schedule.factor(99, 0) > 0
    assert schedule.factor(100, 0) == 0
    assert schedule.progress(1, 60) == 1


def test_samples_use_the_averaged_weights_and_training_continues_with_its_own(tmp_path: Path) -> None:
    line, sampled = Line(), []
    loop = TrainingLoop(line, tmp_path, SCHEDULE)
    loop.run(lambda rng: losses(line, rng), lambda: sampled.append(line.slope.item()))
    assert sampled == [loop.averages["slope"].item()]
    assert line.slope.item() != sampled[0]
