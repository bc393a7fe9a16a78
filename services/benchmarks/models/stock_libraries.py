"""The diffusers pipelines around the same networks: the baseline of Motet's engine."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from services.benchmarks.models.full_size import CLIP, PICTURE, ModelSizes

_GUIDANCE = 7.5


class _UnusedTextEncoder(nn.Module):
    """The text encoder of a pipeline that reads its dtype and device, and never calls it."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.dtype, self.device = dtype, device


def pipeline_of(modality: str, model: Any) -> Any:
    """Return the diffusers pipeline around the networks of a diffusion model."""
    shared = {"vae": model.vae, "unet": model.unet, "scheduler": model.scheduler}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if modality == PICTURE:
            pipeline: Any = diffusers.StableDiffusionPipeline(
                **shared,
                text_encoder=None,
                tokenizer=None,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        elif modality == CLIP:
            pipeline = diffusers.TextToVideoSDPipeline(**shared, text_encoder=None, tokenizer=None)
        else:
            encoder = _UnusedTextEncoder(model.unet.dtype, model.device)
            pipeline = diffusers.AudioLDMPipeline(**shared, text_encoder=encoder, tokenizer=None, vocoder=model.vocoder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.inference_mode()
def run_pipeline(pipeline: Any, modality: str, sizes: ModelSizes, conditioning: Tensor, unconditional: Tensor) -> None:
    """Generate a batch of media from conditioning of shape (n, queries, width) and its unconditional counterpart."""
    options = sizes.options[modality]
    arguments: dict[str, Any] = {"num_inference_steps": sizes.steps, "guidance_scale": _GUIDANCE, "output_type": "np"}
    if "height" in options:
        arguments |= {"height": int(options["height"]), "width": int(options["width"])}
    if "seconds" in options:
        arguments["audio_length_in_s"] = options["seconds"]
        conditioning, unconditional = conditioning[:, 0], unconditional[:, 0]
    if "frames" in options:
        arguments["num_frames"] = int(options["frames"])
    dtype, device = pipeline.unet.dtype, pipeline.unet.device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline(
            prompt_embeds=conditioning.to(device, dtype),
            negative_prompt_embeds=unconditional.to(device, dtype),
            **arguments,
        )
