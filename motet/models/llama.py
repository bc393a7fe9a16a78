"""The language model's network: a LLaMA through transformers, its adapter through peft, its projections.

Loading is strict. A checkpoint that lacks a parameter, or has one too many, is refused by name: a projection
that silently stays random is the oldest bug of NExT-GPT's users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import DynamicCache, LlamaForCausalLM
from transformers.utils import logging

from motet.core.bundle import Bundle
from motet.core.errors import BundleError
from motet.core.signals import Grammar
from motet.models.codec import TextCodec
from motet.models.projectors import Projections, ProjectionsConfig
from motet.models.script import Script
from motet.models.v0_names import to_v0

_WORDS = ("base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight")


@dataclass(frozen=True, slots=True)
class Forward:
    """What one pass gives: `states` after the last norm and the `embedded` inputs, both (tokens, width), and the
    `logits` (vocabulary,) of the token that follows.
    """

    states: Tensor
    embedded: Tensor
    logits: Tensor


class Llama:
    """The network of one bundle, in float32; its methods are pure but for the cache they are given."""

    def __init__(self, model: LlamaForCausalLM, projections: Projections) -> None:
        self._model = model.eval()
        self.projections = projections.eval()

    @property
    def beginning(self) -> int:
        """The id that every script begins with."""
        return int(self._model.config.bos_token_id)

    @property
    def end(self) -> int:
        """The id that ends an answer."""
        return int(self._model.config.eos_token_id)

    @torch.inference_mode()
    def read(self, script: Script, cache: DynamicCache) -> Forward:
        """Reads a script from its beginning."""
        embedded = self._model.model.embed_tokens(script.ids)
        if script.places:
            embedded[list(script.places)] = self.projections.llama_proj(script.embeddings)
        return self._pass(embedded, cache)

    @torch.inference_mode()
    def feed(self, ids: list[int], cache: DynamicCache) -> Forward:
        """Goes on by some tokens in one pass: one that was sampled, or a whole run that is already certain."""
        return self._pass(self._model.model.embed_tokens(torch.tensor(ids)), cache)

    @torch.inference_mode()
    def conditioning(self, modality: str, run: Forward) -> Tensor:
        """What the run of signal tokens that was just fed means to a decoder, (queries, width)."""
        projected: Tensor = self.projections.outputs[modality](run.states[None], run.embedded[None])[0]
        return projected

    def _pass(self, embedded: Tensor, cache: DynamicCache) -> Forward:
        states = self._model.model(
            inputs_embeds=embedded[None], past_key_values=cache, use_cache=True
        ).last_hidden_state[0]
        return Forward(states, embedded, self._model.lm_head(states[-1]))


def load_llama(bundle: Bundle) -> Llama:
    """The network of a bundle's language model. Raises `BundleError`, naming the file and the parameter."""
    entry = bundle.manifest.language_model
    model = _base(bundle.path(entry.path))
    grammar = bundle.manifest.grammar
    model.resize_token_embeddings(_vocabulary(grammar, entry.first_control), mean_resizing=False)
    if entry.lora is not None:
        model = _adapted(model, bundle.path(entry.lora))
    return Llama(model, _projections(bundle.path(entry.projections), model.config.hidden_size))


def load_codec(bundle: Bundle) -> TextCodec:
    """The bundle's text codec. Raises `BundleError` when its ids reach into those of the control tokens."""
    entry = bundle.manifest.language_model
    codec = TextCodec.load(bundle.path(entry.path) / "tokenizer.json")
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
