"""The loading of a decoder's components from folders in the layout of diffusers: `config.json` and safetensors."""

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

_NETWORKS: dict[str, Any] = {
    "AutoencoderKL": diffusers.AutoencoderKL,
    "GriffinLimVocoder": GriffinLimVocoder,
    "PatchAutoencoder": PatchAutoencoder,
    "SpeechT5HifiGan": transformers.SpeechT5HifiGan,
    "UNet2DConditionModel": diffusers.UNet2DConditionModel,
    "UNet3DConditionModel": diffusers.UNet3DConditionModel,
}
"""The classes that a config may name. Other classes are refused, because a config is data and not a program."""
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors", "model.safetensors")


def load_component(folder: Path) -> Any:
    """Return the network of a folder, in float32, for inference.

    Its class is the config's `_class_name` (diffusers) or the first of its `architectures` (transformers). Raises
    `BundleError`, which names the file, if a file is missing, names an unknown class or does not fit.
    """
    config = _read(folder / "config.json")
    name = config.get("_class_name") or config.get("architectures", [""])[0]
    if name not in _NETWORKS:
        raise BundleError(f"{_short(folder)}/config.json names the class {name!r}; known are {', '.join(_NETWORKS)}")
    with torch.device("meta"):
        network = _new_network(_NETWORKS[name], config)
    weights = next((folder / file for file in _WEIGHTS if (folder / file).exists()), None)
    if weights is None:
        raise BundleError(f"{_short(folder)}/{_WEIGHTS[0]} is missing: convert the weights to safetensors")
    _load_weights(network, weights)
    return network.requires_grad_(False).eval()


def load_scheduler(folder: Path) -> Any:
    """Return the scheduler that `scheduler_config.json` describes. Raises `BundleError`."""
    config = _read(folder / "scheduler_config.json")
    name = config.get("_class_name", "")
    scheduler = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if scheduler is None:
        file = f"{_short(folder)}/scheduler_config.json"
        raise BundleError(f"{file} names {name!r}, which is not a scheduler of diffusers")
    return scheduler.from_config(config)


def load_unconditional(folder: Path, shape: tuple[int, ...]) -> Tensor:
    """Return the unconditional embedding for guidance, float32 of `shape`: the text encoder's output for "".

    It is the tensor `unconditional` of `unconditional.safetensors`. Raises `BundleError`.
    """
    path = folder / "unconditional.safetensors"
    if not path.exists():
        raise BundleError(f"{_short(path)} is missing: write the text encoder's output for an empty prompt there")
    unconditional = _tensors(path).get("unconditional")
    if unconditional is None or tuple(unconditional.shape) != shape:
        raise BundleError(f"{_short(path)} must hold one tensor `unconditional` of shape {list(shape)}")
    return unconditional.float()


def _new_network(kind: Any, config: dict[str, Any]) -> nn.Module:
    if issubclass(kind, transformers.PreTrainedModel):
        network: nn.Module = kind(kind.config_class.from_dict(config))
    else:
        network = kind.from_config(config)
    return network


def _load_weights(network: nn.Module, path: Path) -> None:
    state = {name: tensor.float() for name, tensor in _tensors(path).items()}
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        # The first line names the class. The second line names the first wrong parameter.
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
    """Return the end of a path. It names the file in its bundle, but no folder of this machine."""
    return "/".join(path.parts[-3:])
