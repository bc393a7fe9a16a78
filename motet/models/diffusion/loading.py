"""The loading of a decoder's components from folders in the layout of diffusers: `config.json` and safetensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor, nn

from motet.core.errors import BundleError
from motet.models.config_rules import Rule, check_fields
from motet.models.diffusion import component_fields as fields
from motet.models.diffusion.griffin_lim import GriffinLimVocoder
from motet.models.diffusion.patch_autoencoder import PatchAutoencoder
from motet.models.dtype import DtypeSetting, dtype_of
from motet.models.model_folder import ModelFolder, check_names, check_shape, check_shapes
from motet.models.without_values import without_values

_NETWORKS: dict[str, tuple[Any, Mapping[str, Rule]]] = {
    "AutoencoderKL": (diffusers.AutoencoderKL, fields.AUTOENCODER_KL),
    "GriffinLimVocoder": (GriffinLimVocoder, fields.GRIFFIN_LIM),
    "PatchAutoencoder": (PatchAutoencoder, fields.PATCH_AUTOENCODER),
    "SpeechT5HifiGan": (transformers.SpeechT5HifiGan, fields.HIFI_GAN),
    "UNet2DConditionModel": (diffusers.UNet2DConditionModel, fields.UNET_2D),
    "UNet3DConditionModel": (diffusers.UNet3DConditionModel, fields.UNET_3D),
}
"""The classes that a config may name, and the rules of their fields.

Other classes are refused, because a config is data and not a program.
"""
_CPU = torch.device("cpu")
_WEIGHTS = ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "model")


def load_component(folder: ModelFolder, device: torch.device = _CPU, dtype: DtypeSetting = "auto") -> Any:
    """Return the network of a folder on a device, for inference, in the dtype that `dtype_of` returns.

    A config with `force_upcast` replaces float16 by float32: the values of such an autoencoder exceed float16. Its
    class is the config's `_class_name` (diffusers) or the first of its `architectures` (transformers). Raises
    `BundleError`, which names the file, if a file is missing, names an unknown class, has a field that is not
    implemented, or does not fit.
    """
    config, label = folder.config(), folder.label("config.json")
    name = _class_of(config)
    if name not in _NETWORKS:
        raise BundleError(f"{label} names the class {name!r}; known are {', '.join(_NETWORKS)}")
    kind, rules = _NETWORKS[name]
    check_fields(label, config, {**fields.BOOKKEEPING, **rules}, _defaults(kind))
    with _described(label, name), without_values():
        network: nn.Module = _from_config(kind, config)
    state, file = folder.weights(*_WEIGHTS)
    check_shapes(network.state_dict(), state, file)
    computed = dtype_of(dtype, device, state.values())
    if computed == torch.float16 and config.get("force_upcast"):
        computed = torch.float32
    network.load_state_dict({key: value.to(device, computed) for key, value in state.items()}, assign=True)
    return network.requires_grad_(False).eval().to(device)


def load_scheduler(folder: ModelFolder) -> Any:
    """Return the scheduler that `scheduler_config.json` describes. Raises `BundleError`."""
    config, label = folder.config("scheduler_config.json"), folder.label("scheduler_config.json")
    name = _class_of(config)
    if name not in fields.SCHEDULERS:
        known = ", ".join(fields.SCHEDULERS)
        raise BundleError(f"{label} names {name!r}, which is not a scheduler that is implemented; known are {known}")
    kind = getattr(diffusers, name)
    defaults = _defaults(kind)
    # The fields of other schedulers have rules, but no default value.
    rules = {key: rule for key, rule in fields.SCHEDULERS[name].items() if key in defaults or key in config}
    check_fields(label, config, {**fields.BOOKKEEPING, **rules}, defaults)
    with _described(label, name):
        return kind.from_config(config)


def load_unconditional(folder: ModelFolder, shape: tuple[int, ...]) -> Tensor:
    """Return the unconditional embedding for guidance, float32 of `shape`: the text encoder's output for "".

    It is the tensor `unconditional` of `unconditional.safetensors`. Raises `BundleError`.
    """
    label = folder.label("unconditional.safetensors")
    if not folder.has("unconditional.safetensors"):
        raise BundleError(f"{label} is missing: write the text encoder's output for an empty prompt there")
    state, _ = folder.weights("unconditional")
    check_names(["unconditional"], state, label)
    check_shape("unconditional", shape, state["unconditional"], label)
    return state["unconditional"].float()


def _class_of(config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures")
    name = config.get("_class_name") or (architectures[0] if isinstance(architectures, list) and architectures else "")
    return name if isinstance(name, str) else ""


def _defaults(kind: Any) -> Mapping[str, Any]:
    """Return the default values of the fields of a class of diffusers or transformers."""
    if issubclass(kind, transformers.PreTrainedModel):
        defaults: dict[str, Any] = kind.config_class().to_dict()
        return defaults
    return {name: parameter.default for name, parameter in signature(kind.__init__).parameters.items()}


def _from_config(kind: Any, config: Mapping[str, Any]) -> Any:
    if issubclass(kind, transformers.PreTrainedModel):
        return kind(kind.config_class.from_dict(config))
    return kind.from_config(config)


@contextmanager
def _described(label: str, name: str) -> Iterator[None]:
    """Raise `BundleError` for any error in the block. The libraries raise all kinds for fields that contradict."""
    try:
        yield
    except Exception as error:
        raise BundleError(f"{label} does not describe a {name}: its fields contradict each other") from error
