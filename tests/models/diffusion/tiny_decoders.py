"""Tiny decoders with random weights in the layout of diffusers.

The image decoder has all options of Stable Diffusion 1.5 except its sizes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from motet.core.bundle import (
    Bundle,
    DecoderEntry,
    EncoderEntry,
    LanguageModelEntry,
    Manifest,
    SignalEntry,
    files_of,
)

CONDITIONING = {"image": [4, 8], "audio": [1, 8], "video": [4, 8], "animation": [4, 8], "edit": [4, 8]}
TAKES = {"animation": [["image", "edit"]], "edit": [["image"]]}
_KINDS = {
    "image": ("stable-diffusion", "image/png", {}),
    "audio": ("audioldm", "audio/wav", {"seconds": 0.1}),
    "video": ("text-to-video-sd", "video/mp4", {"frames": 3, "frames_per_second": 4}),
    "animation": ("image-to-video", "video/mp4", {"frames": 3, "frames_per_second": 4}),
    "edit": ("image-to-image", "image/png", {"strength": 0.5}),
}


def write(folder: Path) -> None:
    """Write the folders of the decoders. The weights are the same every time."""
    torch.manual_seed(0)
    for modality, write_networks in (
        ("image", _write_image),
        ("audio", _write_audio),
        ("video", _write_video),
        ("animation", partial(_write_video, in_channels=8)),
        ("edit", _write_image),
    ):
        path = folder / "decoders" / modality
        write_networks(path)
        save_file({"unconditional": torch.zeros(CONDITIONING[modality])}, path / "unconditional.safetensors")


def bundle(folder: Path, kind: str | None = None) -> Bundle:
    """Return a bundle with loadable decoders. Its encoder and its language model are only names."""
    decoders = {name: _entry(name, kind if name == "image" else None) for name in CONDITIONING}
    manifest = Manifest(
        name="tiny",
        licence="Apache-2.0",
        description="tiny",
        encoder=EncoderEntry(kind="imagebind", path="encoder", modalities=["image"]),
        language_model=LanguageModelEntry(
            path="llm", projections="projections", prompt="vicuna-v0", first_control=100, max_tokens=64
        ),
        signals={
            name: SignalEntry(token="[X{i}]", run=4, decoder=name, takes=TAKES.get(name, [])) for name in CONDITIONING
        },
        decoders=decoders,
        files=dict.fromkeys(files_of(folder), "sha256:" + "0" * 64),
    )
    return Bundle(folder, manifest, "0" * 64)


def _entry(modality: str, kind: str | None) -> DecoderEntry:
    default_kind, media_type, options = _KINDS[modality]
    return DecoderEntry(
        kind=kind or default_kind,
        path=f"decoders/{modality}",
        conditioning=CONDITIONING[modality],
        media_type=media_type,
        steps=4,
        guidance=3.0,
        options={name: float(value) for name, value in options.items()},
    )


def _write_image(folder: Path) -> None:
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=2,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    unet.save_pretrained(folder / "unet")
    _vae(3, 4).save_pretrained(folder / "vae")
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    scheduler.save_pretrained(folder / "scheduler")


def _write_video(folder: Path, in_channels: int = 4) -> None:
    unet = diffusers.UNet3DConditionModel(
        in_channels=in_channels,
        sample_size=4,
        block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    unet.save_pretrained(folder / "unet")
    _vae(3, 4).save_pretrained(folder / "vae")
    diffusers.DDIMScheduler(clip_sample=False).save_pretrained(folder / "scheduler")


def _write_audio(folder: Path) -> None:
    unet = diffusers.UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        mid_block_type=None,
        layers_per_block=1,
        norm_num_groups=4,
        class_embed_type="simple_projection",
        class_embeddings_concat=True,
        projection_class_embeddings_input_dim=8,
    )
    unet.save_pretrained(folder / "unet")
    _vae(1, 4).save_pretrained(folder / "vae")
    diffusers.DDIMScheduler(clip_sample=False).save_pretrained(folder / "scheduler")
    config = SpeechT5HifiGanConfig(
        model_in_dim=8,
        upsample_initial_channel=16,
        upsample_rates=[5, 4, 4, 2],
        upsample_kernel_sizes=[10, 8, 8, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
        # With the default range, random weights make sounds so quiet that 16 bits round them to silence.
        initializer_range=0.3,
    )
    SpeechT5HifiGan(config).save_pretrained(folder / "vocoder")


def _vae(channels: int, latent_channels: int) -> Any:
    return diffusers.AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=4,
    )
