"""The language model as its bundle holds it: the network of transformers, its adapter, its projections, its tokenizer.

Loading is strict. A checkpoint that lacks a parameter, or has one too many, is refused by name: a projection
that silently stays random is the oldest bug of NExT-GPT's users.
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

_WORDS = ("base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight")


def load_llama(bundle: Bundle, device: str = "auto") -> Llama:
    """The network of a bundle's language model, on the device of that setting (`device_of`).

    It computes in float32 on a CPU, in bfloat16 elsewhere. Raises `BundleError`, naming the file and the parameter.
    """
    place = device_of(device)
    entry = bundle.manifest.language_model
    model = load_transformers_llama(bundle)
    projections = _projections(bundle.path(entry.projections), model.config.hidden_size)
    model = model.to(place, torch.float32 if place.type == "cpu" else torch.bfloat16)
    longest = max((run.length for run in bundle.manifest.grammar.runs), default=1)
    return Llama(model, projections.to(place), entry.max_tokens, longest)


def load_transformers_llama(bundle: Bundle) -> LlamaForCausalLM:
    """Transformers' own network of a bundle's language model, its adapter merged, in float32. Raises `BundleError`."""
    entry = bundle.manifest.language_model
    model = _base(bundle.path(entry.path))
    words = _vocabulary(bundle.manifest.grammar, entry.first_control)
    model.resize_token_embeddings(words, mean_resizing=False)
    return model if entry.lora is None else _adapted(model, bundle.path(entry.lora))


def load_tokenizer(bundle: Bundle) -> Tokenizer:
    """The bundle's text codec. Raises `BundleError` when its ids reach into those of the control tokens."""
    entry = bundle.manifest.language_model
    codec = Tokenizer.load(bundle.path(entry.path) / "tokenizer.json")
    if len(codec) > entry.first_control:
        raise BundleError(
            f"{entry.path}/tokenizer.json has {len(codec)} words, but the control tokens begin at "
            f"{entry.first_control}: use the tokenizer that came with the checkpoint"
        )
    return codec


def _vocabulary(grammar: Grammar, first_control: int) -> int:
    return max([first_control + 2, *(run.ids.stop for run in grammar.runs)])


def _base(folder: Path) -> LlamaForCausalLM:
    logging.disable_progress_bar()
    model, found = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    for trouble in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found[trouble]:
            _refuse(folder, trouble.split("_")[0], sorted(map(str, found[trouble])))
    return model


def _adapted(model: LlamaForCausalLM, folder: Path) -> LlamaForCausalLM:
    """The model with its larger vocabulary's words, and the adapter merged into its weights."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    state = {name: value.float() for name, value in load_file(folder / "adapter_model.safetensors").items()}
    config = LoraConfig(**json.loads((folder / "adapter_config.json").read_text()))
    adapted = get_peft_model(model, config)
    expected = {name.replace(".default.", ".") for name in adapted.state_dict() if "lora_" in name} | {*_WORDS}
    _check(folder, expected, state)
    words = {name: state.pop(name) for name in _WORDS}
    set_peft_model_state_dict(adapted, state)
    merged: LlamaForCausalLM = adapted.merge_and_unload()
    _copy(folder, merged.model.embed_tokens, words[_WORDS[0]])
    _copy(folder, merged.lm_head, words[_WORDS[1]])
    return merged


def _projections(folder: Path, model_width: int) -> Projections:
    config = ProjectionsConfig.read(json.loads((folder / "config.json").read_text()))
    if config.model_width != model_width:
        raise BundleError(f"{folder.name}/config.json is for a model of width {config.model_width}, not {model_width}")
    projections = Projections(config)
    state = load_file(folder / "model.safetensors")
    names = {to_v0(name): name for name in projections.state_dict()}
    _check(folder, set(names), state)
    projections.load_state_dict({names[name]: value.float() for name, value in state.items()})
    return projections


def _copy(folder: Path, module: nn.Module, words: Tensor) -> None:
    weight = module.get_parameter("weight")
    if weight.shape != words.shape:
        raise BundleError(
            f"{folder.name} has words of shape {tuple(words.shape)}, but the manifest's control tokens make it "
            f"{tuple(weight.shape)}: the adapter belongs to another vocabulary"
        )
    weight.data.copy_(words)


def _check(folder: Path, expected: set[str], state: Mapping[str, Tensor]) -> None:
    if missing := expected - set(state):
        _refuse(folder, "missing", sorted(missing))
    if unexpected := set(state) - expected:
        _refuse(folder, "unexpected", sorted(unexpected))


def _refuse(folder: Path, trouble: str, names: list[str]) -> None:
    raise BundleError(
        f"the weights in {folder.name} have {len(names)} {trouble} parameters, such as {names[0]}: "
        "they belong to another model or are incomplete"
    )
