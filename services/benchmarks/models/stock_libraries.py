"""The libraries that Motet is compared with, around the same weights: transformers with peft, and diffusers."""

from __future__ import annotations

import json
import warnings
from typing import Any

import diffusers
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.utils import logging

from motet.core.bundle import Bundle
from services.benchmarks.models.full_size import CLIP, PICTURE, ModelSizes

_GUIDANCE = 7.5


def load_transformers_llama(bundle: Bundle) -> LlamaForCausalLM:
    """Load a bundle's language model with transformers, in float32, and merge its adapter with peft."""
    logging.disable_progress_bar()
    entry = bundle.manifest.language_model
    model = LlamaForCausalLM.from_pretrained(
        bundle.path(entry.path), dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    tokens = max([entry.first_control + 2, *(run.ids.stop for run in bundle.manifest.grammar.runs)])
    model.resize_token_embeddings(tokens, mean_resizing=False)
    if entry.lora is None:
        return model
    folder = bundle.path(entry.lora)
    state = {name: value.float() for name, value in load_file(folder / "adapter_model.safetensors").items()}
    adapted = get_peft_model(model, LoraConfig(**json.loads((folder / "adapter_config.json").read_text())))
    weights = [state.pop(f"base_model.model.{name}.weight") for name in ("model.embed_tokens", "lm_head")]
    set_peft_model_state_dict(adapted, state)
    merged: LlamaForCausalLM = adapted.merge_and_unload()
    for module, values in zip((merged.model.embed_tokens, merged.lm_head), weights, strict=True):
        module.weight.data.copy_(values)
    return merged


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
