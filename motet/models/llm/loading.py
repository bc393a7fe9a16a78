"""Loading a language model from its bundle: the network of transformers, the adapter, the projections, the tokenizer.

Loading is strict. A checkpoint with a missing or unexpected parameter is refused, and the error names the parameter. A
projection that silently stays random is the oldest bug of NExT-GPT's users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from transformers.utils import logging

from motet.core.bundle import Bundle
from motet.core.errors import BundleError
from motet.core.signals import Grammar
from motet.models.device import device_of
from motet.models.llm.checkpoint_names import to_v0
from motet.models.llm.network import Llama
from motet.models.llm.projections import Projections, ProjectionsConfig
from motet.models.llm.tokenizer import Tokenizer

_VOCABULARY_WEIGHTS = ("base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight")


def load_llama(bundle: Bundle, device: str = "auto") -> Llama:
    """Load the network of a bundle's language model to the device that `device` names, see `device_of`.

    The dtype is float32 on a CPU and bfloat16 on a GPU. Raises `BundleError`, which names the file and the parameter.
    """
    target = device_of(device)
    entry = bundle.manifest.language_model
    model = load_transformers_llama(bundle)
    projections = _load_projections(bundle.path(entry.projections), model.config.hidden_size)
    model = model.to(target, torch.float32 if target.type == "cpu" else torch.bfloat16)
    longest_run = max((run.length for run in bundle.manifest.grammar.runs), default=1)
    return Llama(model, projections.to(target), entry.max_tokens, longest_run)


def load_transformers_llama(bundle: Bundle) -> LlamaForCausalLM:
    """Load the language model as a transformers network, in float32, with its adapter merged. Raises `BundleError`."""
    entry = bundle.manifest.language_model
    model = _load_base(bundle.path(entry.path))
    vocabulary_size = _vocabulary_size(bundle.manifest.grammar, entry.first_control)
    model.resize_token_embeddings(vocabulary_size, mean_resizing=False)
    return model if entry.lora is None else _with_adapter(model, bundle.path(entry.lora))


def load_tokenizer(bundle: Bundle) -> Tokenizer:
    """Load the bundle's tokenizer. Raises `BundleError` if its ids overlap those of the control tokens."""
    entry = bundle.manifest.language_model
    tokenizer = Tokenizer.load(bundle.path(entry.path) / "tokenizer.json")
    if len(tokenizer) > entry.first_control:
        raise BundleError(
            f"{entry.path}/tokenizer.json has {len(tokenizer)} tokens, but the control tokens start at id "
            f"{entry.first_control}: use the tokenizer that came with the checkpoint"
        )
    return tokenizer


def _vocabulary_size(grammar: Grammar, first_control: int) -> int:
    return max([first_control + 2, *(run.ids.stop for run in grammar.runs)])


def _load_base(folder: Path) -> LlamaForCausalLM:
    logging.disable_progress_bar()
    model, info = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[problem]:
            _refuse(folder, problem.split("_")[0], sorted(map(str, info[problem])))
    return model


def _with_adapter(model: LlamaForCausalLM, folder: Path) -> LlamaForCausalLM:
    """Merge the adapter into the model's weights, and copy its token embeddings and output weights."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    state = {name: value.float() for name, value in load_file(folder / "adapter_model.safetensors").items()}
    config = LoraConfig(**json.loads((folder / "adapter_config.json").read_text()))
    adapted = get_peft_model(model, config)
    expected = {name.replace(".default.", ".") for name in adapted.state_dict() if "lora_" in name} | {
        *_VOCABULARY_WEIGHTS
    }
    _check(folder, expected, state)
    weights = [state.pop(name) for name in _VOCABULARY_WEIGHTS]
    set_peft_model_state_dict(adapted, state)
    merged: LlamaForCausalLM = adapted.merge_and_unload()
    _copy(folder, merged.model.embed_tokens, weights[0])
    _copy(folder, merged.lm_head, weights[1])
    return merged


def _load_projections(folder: Path, model_width: int) -> Projections:
    config = ProjectionsConfig.read(json.loads((folder / "config.json").read_text()))
    if config.model_width != model_width:
        raise BundleError(f"{folder.name}/config.json is for a model of width {config.model_width}, not {model_width}")
    projections = Projections(config)
    state = load_file(folder / "model.safetensors")
    names = {to_v0(name): name for name in projections.state_dict()}
    _check(folder, set(names), state)
    projections.load_state_dict({names[name]: value.float() for name, value in state.items()})
    return projections


def _copy(folder: Path, module: nn.Module, values: Tensor) -> None:
    weight = module.get_parameter("weight")
    if weight.shape != values.shape:
        raise BundleError(
            f"{folder.name} has token embeddings of shape {tuple(values.shape)}, but the manifest's control tokens "
            f"require {tuple(weight.shape)}: the adapter belongs to another vocabulary"
        )
    weight.data.copy_(values)


def _check(folder: Path, expected: set[str], state: Mapping[str, Tensor]) -> None:
    if missing := expected - set(state):
        _refuse(folder, "missing", sorted(missing))
    if unexpected := set(state) - expected:
        _refuse(folder, "unexpected", sorted(unexpected))


def _refuse(folder: Path, problem: str, names: list[str]) -> None:
    raise BundleError(
        f"the weights in {folder.name} have {len(names)} {problem} parameters, such as {names[0]}: "
        "they belong to another model or are incomplete"
    )
