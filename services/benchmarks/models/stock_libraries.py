"""The same models run as their libraries run them: what Motet's engines are compared with."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from services.benchmarks.models.full_size import CLIP, PICTURE, Scale

_GUIDANCE = 7.5


class _Deaf(nn.Module):
    """Stands where a pipeline looks for a text encoder, only to ask for its type and place; it is never called."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.dtype, self.device = dtype, device


def pipeline_of(modality: str, singer: Any) -> Any:
    """The library's own pipeline around a singer's networks."""
    shared = {"vae": singer.vae, "unet": singer.unet, "scheduler": singer.scheduler}
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
            deaf = _Deaf(singer.unet.dtype, singer.device)
            pipeline = diffusers.AudioLDMPipeline(**shared, text_encoder=deaf, tokenizer=None, vocoder=singer.vocoder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.inference_mode()
def make(pipeline: Any, modality: str, scale: Scale, told: Tensor, untold: Tensor) -> None:
    """A whole batch of media: `told` is (n, queries, width), and `untold` what guidance compares it with."""
    options = scale.options[modality]
    wishes: dict[str, Any] = {"num_inference_steps": scale.steps, "guidance_scale": _GUIDANCE, "output_type": "np"}
    if "height" in options:
        wishes |= {"height": int(options["height"]), "width": int(options["width"])}
    if "seconds" in options:
        wishes["audio_length_in_s"] = options["seconds"]
        told, untold = told[:, 0], untold[:, 0]
    if "frames" in options:
        wishes["num_frames"] = int(options["frames"])
    dtype, device = pipeline.unet.dtype, pipeline.unet.device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline(prompt_embeds=told.to(device, dtype), negative_prompt_embeds=untold.to(device, dtype), **wishes)
