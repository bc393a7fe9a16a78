"""Loading a language model from its bundle: the checkpoint, the adapter, the projections, the tokenizer.

Loading is strict. A checkpoint with a missing or unexpected parameter is refused, and the error names the parameter. A
projection that silently stays random is the oldest bug of NExT-GPT's users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from motet.core.bundle import Bundle
from motet.core.errors import BundleError
from motet.core.signals import Grammar
from motet.models.device import device_of
from motet.models.llm.checkpoint_names import to_v0
from motet.models.llm.layers.checkpoint import CheckpointConfig, LlamaCheckpoint
from motet.models.llm.network import Llama
from motet.models.llm.projections import Projections, ProjectionsConfig
from motet.models.llm.tokenizer import Tokenizer

_VOCABULARY_WEIGHTS = ("model.embed_tokens.weight", "lm_head.weight")
_ADAPTER_PREFIX = "base_model.model."

# The fields of peft that have an effect here, or none at all. Any other field changes the computation if it is set.
_ADAPTER_FIELDS = {
    *("r", "lora_alpha", "target_modules", "bias"),
    *("peft_type", "task_type", "inference_mode", "base_model_name_or_path", "revision", "auto_mapping"),
    *("lora_dropout", "init_lora_weights", "megatron_core", "peft_version"),
}


def load_llama(bundle: Bundle, device: str = "auto") -> Llama:
    """Load the network of a bundle's language model to the device that `device` names, see `device_of`.

    The dtype is float32 on a CPU and bfloat16 on a GPU. Raises `BundleError`, which names the file and the parameter.
    """
    target = device_of(device)
    entry = bundle.manifest.language_model
    model = load_checkpoint(bundle)
    projections = _load_projections(bundle.path(entry.projections), model.config.hidden_size)
    model = model.to(target, torch.float32 if target.type == "cpu" else torch.bfloat16)
    longest_run = max((run.length for run in bundle.manifest.grammar.runs), default=1)
    return Llama(model, projections.to(target), entry.max_tokens, longest_run)


def load_checkpoint(bundle: Bundle) -> LlamaCheckpoint:
    """Load the parameters of the language model, in float32, with its adapter merged. Raises `BundleError`."""
    entry = bundle.manifest.language_model
    folder = bundle.path(entry.path)
    vocabulary_size = _vocabulary_size(bundle.manifest.grammar, entry.first_control)
    config = CheckpointConfig.read(json.loads((folder / "config.json").read_text()))
    state = _load_base(folder, config)
    if entry.lora is not None:
        _merge_adapter(state, bundle.path(entry.lora), config, vocabulary_size)
    for name in _VOCABULARY_WEIGHTS:
        if len(state[name]) < vocabulary_size:
            raise BundleError(
                f"{folder.name} has {len(state[name])} token embeddings, but the manifest's control tokens require "
                f"{vocabulary_size}: the bundle lacks the adapter that has their embeddings"
            )
        state[name] = state[name][:vocabulary_size]
    model = LlamaCheckpoint(replace(config, vocab_size=vocabulary_size))
    model.load_state_dict(state, assign=True)
    return model


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


def _load_base(folder: Path, config: CheckpointConfig) -> dict[str, Tensor]:
    """Read the checkpoint's files, and check that they have exactly the parameters of the configuration."""
    index = folder / "model.safetensors.index.json"
    files = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    state = {name: value for file in sorted(files) for name, value in load_file(folder / file).items()}
    # Early checkpoints contain the frequencies of the rotary embedding, which are not parameters.
    state = {name: value.float() for name, value in state.items() if not name.endswith(".rotary_emb.inv_freq")}
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    expected = LlamaCheckpoint(config).state_dict()
    _check(folder, set(expected), state)
    if wrong := [name for name, value in state.items() if value.shape != expected[name].shape]:
        _refuse(folder, "mismatched", sorted(wrong))
    return state


def _merge_adapter(state: dict[str, Tensor], folder: Path, config: CheckpointConfig, vocabulary_size: int) -> None:
    """Add the adapter to the weights, and replace the token embeddings and the output weights by the adapter's."""
    values = json.loads((folder / "adapter_config.json").read_text())
    if unknown := [name for name, value in values.items() if value and name not in _ADAPTER_FIELDS]:
        raise BundleError(f"{folder.name}/adapter_config.json: {unknown[0]} is set, which is not supported")
    if values.get("bias", "none") != "none":
        raise BundleError(f"{folder.name}/adapter_config.json: bias is {values['bias']!r}; only 'none' is supported")
    adapter = {name: value.float() for name, value in load_file(folder / "adapter_model.safetensors").items()}
    targets = [
        name.removesuffix(".weight")
        for name in state
        if name.removesuffix(".weight").rpartition(".")[2] in values["target_modules"]
    ]
    halves = {f"{_ADAPTER_PREFIX}{target}.lora_{half}.weight" for target in targets for half in "AB"}
    _check(folder, {*halves, *(_ADAPTER_PREFIX + name for name in _VOCABULARY_WEIGHTS)}, adapter)
    for target in targets:
        down, up = (adapter[f"{_ADAPTER_PREFIX}{target}.lora_{half}.weight"] for half in "AB")
        state[f"{target}.weight"] = state[f"{target}.weight"] + up @ down * (values["lora_alpha"] / values["r"])
    for name in _VOCABULARY_WEIGHTS:
        shape, required = tuple(adapter[_ADAPTER_PREFIX + name].shape), (vocabulary_size, config.hidden_size)
        if shape != required:
            raise BundleError(
                f"{folder.name} has token embeddings of shape {shape}, but the manifest's control tokens "
                f"require {required}: the adapter belongs to another vocabulary"
            )
        state[name] = adapter[_ADAPTER_PREFIX + name]


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
