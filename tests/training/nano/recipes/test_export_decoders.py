"""Exporting what was trained. Skipped where the emoji packages are not installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from motet.models.diffusion import loading
from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.training import loop
from motet.training.nano.recipes import autoencoder
from motet.training.nano.recipes.denoiser_kinds import DENOISER_TASKS
from motet.training.nano.recipes.export_decoders import export
from motet.training.nano.world import caption_encoder, pictures

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (pictures.folder() / "emoji-datasource-google").exists():
        pytest.skip("the emoji packages are not installed")
    build, out = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("decoders")
    schedule = loop.Schedule(steps=1, rate=1e-3)
    torch.manual_seed(0)
    loop.Loop(autoencoder.linear(), build / "autoencoder", schedule).save()
    loop.Loop(DENOISER_TASKS["image"](build).denoiser(), build / "denoiser-image", schedule).save()
    export("image", build, out)
    return out


def test_what_is_exported_can_be_sung_from(exported: Path) -> None:
    folder = exported / "image"
    singer = StableDiffusion(
        unet=loading.load_component(folder / "unet"),
        vae=loading.load_component(exported / "autoencoder"),
        scheduler=loading.load_scheduler(folder / "scheduler"),
        unconditional=loading.load_unconditional(folder, (8, 128)),
        options={},
    )
    song = singer.prepare(caption_encoder.encode("image", ["a dog on a blue background"])[0], 1, 2, 3.0)
    while song.step < song.total:
        singer.step(song)
    assert singer.finish(song).shape == (64, 64, 3)


def test_weights_are_halves_and_configs_name_no_machine(exported: Path) -> None:
    for path in exported.rglob("config.json"):
        assert "/" not in path.read_text()
        assert "_class_name" in json.loads(path.read_text())
    sizes = [path.stat().st_size for path in exported.rglob("*.safetensors")]
    assert len(sizes) == 3
    assert sum(sizes) < 20e6


def test_a_training_that_has_not_run_is_named(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="denoiser-video"):
        export("video", tmp_path, tmp_path / "out")
