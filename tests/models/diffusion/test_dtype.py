"""Decoders in half precision, and on a device that is not a CPU."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.core.errors import FaultError
from motet.models.diffusion.cost_curve import default_tolerance
from motet.models.diffusion.decoder import _load_model, load_decoder
from motet.models.diffusion.griffin_lim import GriffinLimVocoder, steady_phases
from motet.models.diffusion.loading import load_component
from motet.models.diffusion.model import Array
from motet.models.dtype import DtypeSetting
from motet.models.model_folder import ModelFolder
from tests.models.diffusion import tiny_decoders as tiny
from tests.models.diffusion.watched_model import job, media

CPU, META = torch.device("cpu"), torch.device("meta")
MODALITIES = ("image", "audio", "video", "animation", "edit")


def stored_in(folder: Path, copy: Path, dtype: torch.dtype) -> Path:
    """Copy the decoders of a folder, with weights of a dtype."""
    shutil.copytree(folder, copy)
    for file in copy.rglob("*.safetensors"):
        save_file({name: value.to(dtype) for name, value in load_file(file).items()}, file)
    return copy


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_decoder_on_a_gpu_has_the_dtype_of_its_weights_and_computes_on_its_device_alone(
    modality: str, dtype: torch.dtype, folder: Path, tmp_path: Path
) -> None:
    bundle = tiny.bundle(stored_in(folder, tmp_path / "half", dtype))
    entry = bundle.manifest.decoder_of(modality)

    # An operation of tensors on "meta" and on a CPU fails, as it would with those of a GPU.
    model = _load_model(bundle, modality, entry, META, "auto")
    picture = np.zeros((*model.picture_size, 3), np.uint8)
    states = [
        model.prepare(model.unconditional, seed, 4, guidance, [picture] * len(model.takes))
        for seed, guidance in ((0, 3.0), (1, 1.0), (2, 1.0))
    ]
    model.step(*states[:1])
    model.step(*states[1:])

    assert model.dtype == dtype
    assert all(parameter.dtype == dtype for parameter in model.unet.parameters())
    assert {(state.latents.device, state.latents.dtype) for state in states} == {(META, torch.float32)}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("modality", MODALITIES)
def test_media_in_half_precision_are_nearly_those_in_single_precision(
    modality: str, dtype: DtypeSetting, folder: Path, tmp_path: Path
) -> None:
    bundle = tiny.bundle(stored_in(folder, tmp_path / "half", getattr(torch, dtype)))
    conditioning = torch.randn(tiny.CONDITIONING[modality], generator=torch.Generator().manual_seed(0))

    def made(computed: DtypeSetting) -> Array:
        model = _load_model(bundle, modality, bundle.manifest.decoder_of(modality), CPU, computed)
        assert model.dtype == (torch.float32 if computed == "auto" else getattr(torch, computed))
        picture = np.full((*model.picture_size, 3), 99, np.uint8)
        state = model.prepare(conditioning, 1, 4, 3.0, [picture] * len(model.takes))
        while state.step < state.total:
            model.step(state)
        return model.finish(state).astype(float)

    exact, half = made("auto"), made(dtype)

    assert np.abs(exact - half).max() > 0
    assert np.abs(exact - half).mean() < 0.05 * np.abs(exact).max()


async def test_a_decoder_in_half_precision_repeats_its_bytes(folder: Path) -> None:
    decoder = load_decoder(tiny.bundle(folder), "image", dtype="bfloat16")

    alone = await media(decoder, job(seed=3))
    together = await asyncio.gather(*(media(decoder, job(seed=seed)) for seed in (3, 4, 5)))

    assert together[0] == alone
    decoder.close()


@pytest.mark.parametrize(("upcast", "expected"), [(True, torch.float32), (False, torch.float16), (None, torch.float16)])
def test_an_autoencoder_whose_config_says_so_is_not_in_half_precision(
    upcast: bool | None, expected: torch.dtype, folder: Path, tmp_path: Path
) -> None:
    vae = stored_in(folder / "decoders" / "image" / "vae", tmp_path / "vae", torch.float16)
    config = json.loads((vae / "config.json").read_text())
    config.pop("force_upcast")
    (vae / "config.json").write_text(json.dumps(config if upcast is None else {**config, "force_upcast": upcast}))

    assert load_component(ModelFolder.unlisted(vae), META).dtype == expected
    assert load_component(ModelFolder.unlisted(vae), CPU, "bfloat16").dtype == torch.bfloat16


async def test_a_result_beyond_half_precision_names_the_dtype_to_use(folder: Path) -> None:
    decoder = load_decoder(tiny.bundle(folder), "image", dtype="bfloat16")
    bias = decoder._engine._model.unet.conv_out.bias  # type: ignore[attr-defined]
    bias.data = bias / 0.0

    with pytest.raises(FaultError, match="in bfloat16 is not finite; set MOTET_DTYPE=float32"):
        await media(decoder, job())
    decoder.close()


def test_the_vocoder_without_training_computes_on_the_device_of_its_input() -> None:
    vocoder = GriffinLimVocoder().to(META)

    magnitudes = vocoder.log_magnitudes(torch.empty(1, 20, 64, device=META)).exp().transpose(1, 2)

    assert steady_phases(magnitudes, 160).device == META
    assert vocoder._stft(torch.empty(1, 3200, device=META)).device == META


def test_the_vocoder_without_training_transforms_in_single_precision() -> None:
    vocoder = GriffinLimVocoder().to(torch.bfloat16)

    assert vocoder(torch.zeros(1, 20, 64, dtype=torch.bfloat16)).dtype == torch.float32


def test_jobs_share_steps_on_a_gpu_within_a_tolerance_of_its_dtype_and_on_a_cpu_only_with_equal_bits() -> None:
    tolerances = {dtype: default_tolerance(META, dtype) for dtype in (torch.float32, torch.float16, torch.bfloat16)}

    assert tolerances == {torch.float32: 1 / 32, torch.float16: 1 / 32, torch.bfloat16: 1 / 4}
    assert default_tolerance(CPU, torch.float32) == 0
