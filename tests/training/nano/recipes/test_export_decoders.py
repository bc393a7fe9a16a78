"""The export of trained decoders. Skipped if the emoji packages are not installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from motet.models.diffusion import loading
from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.models.model_folder import ModelFolder
from motet.training.loop import Schedule, TrainingLoop
from motet.training.nano.recipes.autoencoder import linear_autoencoder
from motet.training.nano.recipes.denoiser import DENOISER_TASKS
from motet.training.nano.recipes.export_decoders import export
from motet.training.nano.world import caption_encoder, pictures

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (pictures.folder() / "emoji-datasource-google").exists():
        pytest.skip("the emoji packages are not installed")
    build, out = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("decoders")
    schedule = Schedule(steps=1, rate=1e-3)
    torch.manual_seed(0)
    TrainingLoop(linear_autoencoder(), build / "autoencoder", schedule).save()
    TrainingLoop(DENOISER_TASKS["image"](build).denoiser(), build / "denoiser-image", schedule).save()
    export("image", build, out)
    return out


def test_an_exported_decoder_generates_a_picture(exported: Path) -> None:
    folder = exported / "image"
    model = StableDiffusion(
        unet=loading.load_component(ModelFolder.unlisted(folder / "unet")),
        vae=loading.load_component(ModelFolder.unlisted(exported / "autoencoder")),
        scheduler=loading.load_scheduler(ModelFolder.unlisted(folder / "scheduler")),
        unconditional=loading.load_unconditional(ModelFolder.unlisted(folder), (8, 128)),
        options={},
    )
    state = model.prepare(caption_encoder.encode("image", ["a dog on a blue background"])[0], 1, 2, 3.0)
    while state.step < state.total:
        model.step(state)
    assert model.finish(state).shape == (64, 64, 3)


def test_weights_are_in_half_precision_and_configs_contain_no_paths(exported: Path) -> None:
    for path in exported.rglob("config.json"):
        assert "/" not in path.read_text()
        assert "_class_name" in json.loads(path.read_text())
    sizes = [path.stat().st_size for path in exported.rglob("*.safetensors")]
    assert len(sizes) == 3
    assert sum(sizes) < 20e6


def test_the_error_for_a_missing_training_names_it(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="denoiser-video"):
        export("video", tmp_path, tmp_path / "out")
