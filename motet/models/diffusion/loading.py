"""Parts of a decoder, from folders as diffusers lays them out: `config.json` and safetensors beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from motet.core.errors import BundleError
from motet.models.diffusion.griffin_lim import GriffinLimVocoder
from motet.models.diffusion.patch_autoencoder import PatchAutoencoder

# Class names a folder may ask for. A folder may not name any other: what it says is data, not a program.
_NETWORKS: dict[str, Any] = {
    "AutoencoderKL": diffusers.AutoencoderKL,
    "GriffinLimVocoder": GriffinLimVocoder,
    "PatchAutoencoder": PatchAutoencoder,
    "SpeechT5HifiGan": transformers.SpeechT5HifiGan,
    "UNet2DConditionModel": diffusers.UNet2DConditionModel,
    "UNet3DConditionModel": diffusers.UNet3DConditionModel,
}
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors", "model.safetensors")


def load_component(folder: Path) -> Any:
    """The network in a folder, in float32, for inference.

    The class is the config's `_class_name` (diffusers) or first of `architectures` (transformers). Raises
    `BundleError`, naming the file that is missing, unknown or does not fit.
    """
    config = _read(folder / "config.json")
    name = config.get("_class_name") or config.get("architectures", [""])[0]
    if name not in _NETWORKS:
        raise BundleError(f"{_short(folder)}/config.json names the class {name!r}; known are {', '.join(_NETWORKS)}")
    with torch.device("meta"):
        network = _made(_NETWORKS[name], config)
    weights = next((folder / file for file in _WEIGHTS if (folder / file).exists()), None)
    if weights is None:
        raise BundleError(f"{_short(folder)}/{_WEIGHTS[0]} is missing: convert the weights to safetensors")
    _fill(network, weights)
    return network.requires_grad_(False).eval()


def load_scheduler(folder: Path) -> Any:
    """The scheduler that `scheduler_config.json` describes. Raises `BundleError`."""
    config = _read(folder / "scheduler_config.json")
    name = config.get("_class_name", "")
    kind = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if kind is None:
        raise BundleError(f"{_short(folder)}/scheduler_config.json names {name!r}, which is no scheduler of diffusers")
    return kind.from_config(config)


def load_unconditional(folder: Path, shape: tuple[int, ...]) -> Tensor:
    """What the decoder is conditioned on where guidance asks for no prompt: the text encoder's output for "".

    float32 of `shape`, from the tensor `unconditional` of `unconditional.safetensors`. Raises `BundleError`.
    """
    path = folder / "unconditional.safetensors"
    if not path.exists():
        raise BundleError(f"{_short(path)} is missing: write the text encoder's output for an empty prompt there")
    unconditional = _tensors(path).get("unconditional")
    if unconditional is None or tuple(unconditional.shape) != shape:
        raise BundleError(f"{_short(path)} must hold one tensor `unconditional` of shape {list(shape)}")
    return unconditional.float()


def _made(kind: Any, config: dict[str, Any]) -> nn.Module:
    if issubclass(kind, transformers.PreTrainedModel):
        network: nn.Module = kind(kind.config_class.from_dict(config))
    else:
        network = kind.from_config(config)
    return network


def _fill(network: nn.Module, path: Path) -> None:
    state = {name: tensor.float() for name, tensor in _tensors(path).items()}
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        # The first line only names the class; the second, the first parameter that is in the wrong.
        lines = str(error).splitlines()
        raise BundleError(f"{_short(path)} does not fit its config.json: {' '.join(lines[1:2]).strip()}") from error


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BundleError(f"{_short(path)} is not a whole safetensors file: fetch it again") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BundleError(f"{_short(path)} is missing from the bundle; fetch the bundle again") from error
    except ValueError as error:
        raise BundleError(f"{_short(path)} is not JSON; fetch the bundle again") from error
    return config


def _short(path: Path) -> str:
    """The end of a path, which names the file within its bundle and nothing of this machine."""
    return "/".join(path.parts[-3:])
