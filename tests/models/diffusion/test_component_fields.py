"""A decoder that would compute something else than its publisher's code is refused, by the name of the field."""

from __future__ import annotations

import json
import shutil
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from motet.core.bundle import Bundle, Manifest
from motet.core.errors import BundleError
from motet.models.config_rules import check_fields
from motet.models.diffusion import component_fields as fields
from motet.models.diffusion.decoder import load_decoder
from motet.models.diffusion.loading import load_scheduler
from motet.models.model_folder import ModelFolder
from tests.models.crafted_weights import CRAFTED
from tests.models.diffusion import tiny_decoders as tiny

UNET, VAE, SCHEDULER = "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"
SD_15_SCHEDULER = {
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.7.0.dev0", "beta_end": 0.012, "beta_start": 0.00085,
    "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None, "clip_sample": False,
}  # fmt: skip


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    shutil.copytree(folder / "decoders", tmp_path / "decoders")
    return tmp_path


def refusal(folder: Path, modality: str, **entry: Any) -> str:
    """Return the message with which a decoder is refused. `entry` changes fields of its entry in the manifest."""
    bundle = tiny.bundle(folder)
    changed = bundle.manifest.decoders[modality].model_copy(update=entry)
    manifest: Manifest = bundle.manifest.model_copy(
        update={"decoders": {**bundle.manifest.decoders, modality: changed}}
    )
    with pytest.raises(BundleError) as caught:
        load_decoder(Bundle(folder, manifest, bundle.digest), modality)
    return caught.value.message


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("modality", "file", "values", "expected"),
    [
        ("image", UNET, {"time_cond_proj_dim": 256}, "time_cond_proj_dim must be null, not 256"),
        ("image", UNET, {"addition_embed_type": "text_time"}, 'addition_embed_type must be null, not "text_time"'),
        ("image", UNET, {"encoder_hid_dim_type": "text_proj"}, "encoder_hid_dim_type must be null"),
        ("image", UNET, {"class_embed_type": "timestep"}, 'class_embed_type must be null or "simple_projection"'),
        ("image", UNET, {"num_class_embeds": 10}, "num_class_embeds must be null, not 10"),
        ("image", UNET, {"new_option": 0}, "new_option must be absent, not 0"),
        ("image", UNET, {"layers_per_block": 10**9}, "layers_per_block must be an integer from 1 to 100"),
        ("image", UNET, {"down_block_types": ["SimpleCrossAttnDownBlock2D"] * 4}, "down_block_types must be a list"),
        ("image", UNET, {"block_out_channels": [8, 8]}, "does not describe a UNet2DConditionModel"),
        ("image", VAE, {"shift_factor": 0.1}, "shift_factor must be null, not 0.1"),
        ("image", VAE, {"latents_mean": [0.0]}, "latents_mean must be null, not [0.0]"),
        ("image", VAE, {"scaling_factor": 0}, "scaling_factor must be a positive number, not 0"),
        ("video", UNET, {"time_cond_proj_dim": 256}, "time_cond_proj_dim must be null, not 256"),
        ("audio", "vocoder/config.json", {"normalize_before": "no"}, "normalize_before must be true or false"),
        ("audio", "vocoder/config.json", {"upsample_rates": [0]}, "upsample_rates must be a list"),
        ("audio", "vocoder/config.json", {"architectures": ["Bark"]}, "names the class 'Bark'"),
        ("audio", "vocoder/config.json", {"architectures": {}}, "names the class ''"),
        ("image", SCHEDULER, {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "which is not a scheduler"),
        ("image", SCHEDULER, {"prediction_type": "flow_prediction"}, 'prediction_type must be "epsilon" or'),
        ("image", SCHEDULER, {"thresholding": True}, "thresholding must be false, not true"),
        ("image", SCHEDULER, {"trained_betas": [0.1]}, "trained_betas must be null, not [0.1]"),
        ("image", SCHEDULER, {"beta_end": 1.5}, "beta_end must be a number from 0 to 1, not 1.5"),
        ("image", SCHEDULER, {"num_train_timesteps": "1000"}, "num_train_timesteps must be an integer"),
    ],
)
def test_a_field_that_is_not_implemented_is_refused_with_both_values(
    copy: Path, modality: str, file: str, values: dict[str, Any], expected: str
) -> None:
    change(copy / "decoders" / modality / file, **values)

    message = refusal(copy, modality)

    assert message.startswith(f"decoders/{modality}/{file}")
    assert expected in message


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True}, "use_flow_sigmas must be false, not true"),
        ("UniPCMultistepScheduler", {"flow_shift": 3.0}, "flow_shift must be 1.0, not 3.0"),
        ("DPMSolverMultistepScheduler", {"variance_type": "learned_range"}, "variance_type must be null"),
        ("DDPMScheduler", {"variance_type": "learned"}, 'variance_type must be "fixed_small" or "fixed_large"'),
        ("EulerDiscreteScheduler", {"timestep_type": "continuous"}, 'timestep_type must be "discrete"'),
        ("EulerDiscreteScheduler", {"clip_sample": True}, "clip_sample must be false, not true"),
        ("PNDMScheduler", {"use_karras_sigmas": True}, "use_karras_sigmas must be absent, not true"),
    ],
)
def test_a_field_of_a_scheduler_that_is_not_implemented_is_refused(
    tmp_path: Path, kind: str, values: dict[str, Any], expected: str
) -> None:
    folder = tmp_path / "scheduler"
    getattr(diffusers, kind)().save_pretrained(folder)
    load_scheduler(ModelFolder.unlisted(folder))
    change(folder / "scheduler_config.json", **values)

    with pytest.raises(BundleError) as caught:
        load_scheduler(ModelFolder.unlisted(folder))

    assert caught.value.message.startswith(f"scheduler/scheduler_config.json: {expected}")


@pytest.mark.parametrize(
    ("modality", "entry", "expected"),
    [
        ("image", {"media_type": "image/jpeg"}, 'media_type must be "image/png", not "image/jpeg"'),
        ("image", {"conditioning": [4, 8, 1]}, "conditioning must be a shape of two axes, not [4, 8, 1]"),
        ("image", {"shared": {"veo": "decoders/vae"}}, 'shared must be "unet" or "vae" or "scheduler", not "veo"'),
        ("image", {"options": {"frames": 8.0}}, "options: frames must be absent, not 8.0"),
        ("image", {"options": {"height": 15.0}}, "options: height must be a multiple of 2, the autoencoder's scale"),
        ("image", {"options": {"height": 1e9}}, "options: height must be a whole number from 1 to 8192"),
        ("image", {"steps": 1000}, "the steps of the image decoder: this decoder takes at most 20 steps"),
        ("image", {"kind": "text-to-video-sd", "media_type": "video/mp4"}, 'the class must be "UNet3DConditionModel"'),
        ("video", {"options": {"frames": 2.5}}, "options: frames must be a whole number from 1 to 1024, not 2.5"),
        ("video", {"options": {"frames_per_second": 0.0}}, "options: frames_per_second must be from 0.1 to 240"),
        ("edit", {"options": {"strength": 0.0}}, "options: strength must be from 0.01 to 1, not 0.0"),
        ("video", {"options": {"strength": 0.5}}, "options: strength must be absent, not 0.5"),
        ("video", {"kind": "image-to-video"}, "signals.video: takes must be a slot for image, not []"),
        ("animation", {"kind": "text-to-video-sd"}, 'signals.animation: takes must be absent, not [["image", "edit"]]'),
        ("animation", {"shared": {"unet": "decoders/video/unet"}}, "unet/config.json: in_channels must be 8, not 4"),
        ("video", {"shared": {"unet": "decoders/animation/unet"}}, "unet/config.json: in_channels must be 4, not 8"),
        ("animation", {"options": {"position_frequencies": 1}}, "unet/config.json: in_channels must be 12, not 8"),
        ("video", {"options": {"position_frequencies": 1}}, "options: position_frequencies must be absent, not 1"),
        ("audio", {"options": {"seconds": 0.0}}, "options: seconds must be from 0.01 to 600, not 0.0"),
    ],
)
def test_an_entry_of_the_manifest_that_does_not_fit_its_decoder_is_refused(
    copy: Path, modality: str, entry: dict[str, Any], expected: str
) -> None:
    change(copy / "decoders" / "image" / SCHEDULER, num_train_timesteps=20)

    assert expected in refusal(copy, modality, **entry)


@pytest.mark.parametrize(
    ("modality", "shape", "field"),
    [
        ("image", [4, 16], "cross_attention_dim must be 16, or a list of 1 to 16 values, each 16, not 8"),
        ("video", [4, 16], "cross_attention_dim must be 16, or a list of 1 to 16 values, each 16, not 8"),
        ("audio", [1, 16], "projection_class_embeddings_input_dim must be 16, not 8"),
    ],
)
def test_conditioning_of_another_width_than_the_networks_is_refused(
    folder: Path, modality: str, shape: list[int], field: str
) -> None:
    message = refusal(folder, modality, conditioning=shape)

    assert message.startswith(f"decoders/{modality}/unet/config.json: {field}")


def test_latents_of_another_width_than_the_autoencoders_are_refused(copy: Path) -> None:
    """The U-Nets of inpainting take more channels than the autoencoder has."""
    tiny._vae(3, 8).save_pretrained(copy / "decoders/image/vae")
    assert "unet/config.json: in_channels must be 8, not 4" in refusal(copy, "image")

    tiny._vae(1, 4).save_pretrained(copy / "decoders/image/vae")
    assert "vae/config.json: out_channels must be 3, not 1" in refusal(copy, "image")


def test_a_u_net_without_class_embedding_is_refused_as_a_sound_decoder(copy: Path) -> None:
    """It would ignore the conditioning."""
    values = json.loads((copy / "decoders/audio" / UNET).read_text()) | {"class_embed_type": None}
    diffusers.UNet2DConditionModel.from_config(values).save_pretrained(copy / "decoders/audio/unet")

    assert 'unet/config.json: class_embed_type must be "simple_projection", not null' in refusal(copy, "audio")


def test_latents_that_take_much_memory_are_refused(copy: Path) -> None:
    change(copy / "decoders/video" / UNET, sample_size=65536)

    assert "the latents of the video decoder have the shape [4, 3, 65536, 65536]" in refusal(copy, "video")


def test_an_unconditional_embedding_of_another_shape_is_refused_with_both_shapes(copy: Path) -> None:
    save_file({"unconditional": torch.zeros(2, 8)}, copy / "decoders/image/unconditional.safetensors")

    message = refusal(copy, "image")

    assert "unconditional.safetensors: unconditional must have the shape [4, 8], not [2, 8]" in message


def test_a_parameter_of_another_shape_is_refused_with_its_name(copy: Path) -> None:
    change(copy / "decoders/image" / UNET, cross_attention_dim=16)

    assert "must have the shape" in refusal(copy, "image")


@pytest.mark.parametrize("kind", ["a truncated header", "overlapping tensors", "two tensors of equal name"])
@pytest.mark.parametrize("file", ["vae/diffusion_pytorch_model.safetensors", "unconditional.safetensors"])
def test_a_broken_safetensors_file_is_refused_by_its_name(copy: Path, file: str, kind: str) -> None:
    (copy / "decoders/image" / file).write_bytes(CRAFTED[kind])

    assert f"decoders/image/{file}" in refusal(copy, "image")


def test_a_file_that_the_manifest_does_not_list_is_refused(folder: Path) -> None:
    bundle = tiny.bundle(folder)
    files = {name: digest for name, digest in bundle.manifest.files.items() if not name.endswith(f"image/{VAE}")}
    unlisted = Bundle(folder, bundle.manifest.model_copy(update={"files": files}), bundle.digest)

    with pytest.raises(BundleError, match=f"decoders/image/{VAE} is not listed in the manifest"):
        load_decoder(unlisted, "image")


def test_the_configs_of_published_models_are_accepted(tmp_path: Path) -> None:
    stable_diffusion = {
        "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "act_fn": "silu", "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": False, "cross_attention_dim": 768,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "downsample_padding": 1,
        "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1,
        "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    }  # fmt: skip
    stable_diffusion_2 = {
        "attention_head_dim": [5, 10, 20, 20], "dual_cross_attention": False, "num_class_embeds": None,
        "only_cross_attention": False, "use_linear_projection": True, "upcast_attention": True,
    }  # fmt: skip
    audioldm = {
        "class_embed_type": "simple_projection", "class_embeddings_concat": True, "sample_size": 128,
        "projection_class_embeddings_input_dim": 512, "cross_attention_dim": [128, 256, 384, 640],
        "mid_block_type": "UNetMidBlock2DCrossAttn", "time_cond_proj_dim": None, "conv_in_kernel": 3,
    }  # fmt: skip
    parameters = signature(diffusers.UNet2DConditionModel.__init__).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    for more in ({}, stable_diffusion_2, audioldm):
        check_fields("unet", stable_diffusion | more, {**fields.BOOKKEEPING, **fields.UNET_2D}, defaults)
    for more in ({}, {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}):
        (tmp_path / "scheduler_config.json").write_text(json.dumps(SD_15_SCHEDULER | more))
        load_scheduler(ModelFolder.unlisted(tmp_path))
