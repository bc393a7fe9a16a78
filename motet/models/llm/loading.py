"""Loading a language model from its bundle: the checkpoint, the adapter, the projections, the tokenizer.

Loading is strict. A checkpoint with a missing or unexpected parameter is refused, and the error names the parameter. A
projection that silently stays random is the oldest bug of NExT-GPT's users. A config with a field that is not
implemented is refused, too: the model would compute something else.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from motet.core.bundle import Bundle
from motet.core.errors import BundleError
from motet.core.signals import Grammar
from motet.models.config_rules import check_field, one_of, parse_config
from motet.models.device import device_of
from motet.models.dtype import DtypeSetting, dtype_of
from motet.models.llm.checkpoint_names import to_v0
from motet.models.llm.config_fields import check_adapter, check_language_model
from motet.models.llm.layers.checkpoint import CheckpointConfig, LlamaCheckpoint
from motet.models.llm.network import Llama
from motet.models.llm.projections import Projections, ProjectionsConfig
from motet.models.llm.tokenizer import Tokenizer
from motet.models.model_folder import ModelFolder, check_names, check_shape, check_shapes
from motet.models.without_values import without_values

_CPU = torch.device("cpu")
_VOCABULARY_WEIGHTS = ("model.embed_tokens.weight", "lm_head.weight")
_ADAPTER_PREFIX = "base_model.model."


def load_llama(bundle: Bundle, device: str = "auto", dtype: DtypeSetting = "auto") -> Llama:
    """Load the network of a bundle's language model to a device, in a dtype, see `device_of` and `dtype_of`.

    Raises `BundleError`, which names the file and the parameter or field.
    """
    target = device_of(device)
    entry = bundle.manifest.language_model
    model = load_checkpoint(bundle, target, dtype)
    folder = ModelFolder.of(bundle, entry.projections)
    projections = _load_projections(folder, model.config.hidden_size, target, dtype)
    longest_run = max((run.length for run in bundle.manifest.grammar.runs), default=1)
    return Llama(model, projections, entry.max_tokens, longest_run)


def load_checkpoint(bundle: Bundle, device: torch.device = _CPU, dtype: DtypeSetting = "auto") -> LlamaCheckpoint:
    """Load the parameters of the language model to a device, with its adapter merged. Raises `BundleError`.

    The dtype is that of the base model by `dtype_of`. The adapter is merged in float32.
    """
    entry = bundle.manifest.language_model
    folder = ModelFolder.of(bundle, entry.path)
    vocabulary_size = _vocabulary_size(bundle.manifest.grammar, entry.first_control)
    values = folder.config()
    check_language_model(folder.label("config.json"), values, entry)
    config = CheckpointConfig.read(values)
    if folder.has("generation_config.json"):
        # Other libraries take the stop ids from this file.
        stop = folder.config("generation_config.json").get("eos_token_id")
        label = folder.label("generation_config.json")
        check_field(label, "eos_token_id", stop, one_of(config.eos_token_id, None))
    state = _load_base(folder, config)
    computed = dtype_of(dtype, device, state.values())
    state = {name: value.to(computed) for name, value in state.items()}
    if entry.lora is not None:
        _merge_adapter(state, ModelFolder.of(bundle, entry.lora), config, vocabulary_size)
    for name in _VOCABULARY_WEIGHTS:
        if len(state[name]) < vocabulary_size:
            raise BundleError(
                f"{folder.name} has {len(state[name])} token embeddings, but the manifest's control tokens require "
                f"{vocabulary_size}: the bundle lacks the adapter that has their embeddings"
            )
        state[name] = state[name][:vocabulary_size]
    model = LlamaCheckpoint(replace(config, vocab_size=vocabulary_size))
    model.load_state_dict({name: value.to(device, computed) for name, value in state.items()}, assign=True)
    return model


def load_tokenizer(bundle: Bundle) -> Tokenizer:
    """Load the bundle's tokenizer. Raises `BundleError` if its ids overlap those of the control tokens."""
    entry = bundle.manifest.language_model
    folder = ModelFolder.of(bundle, entry.path)
    tokenizer = Tokenizer.load(folder.file("tokenizer.json"))
    if len(tokenizer) > entry.first_control:
        raise BundleError(
            f"{folder.label('tokenizer.json')} has {len(tokenizer)} tokens, but the control tokens start at id "
            f"{entry.first_control}: use the tokenizer that came with the checkpoint"
        )
    return tokenizer


def _vocabulary_size(grammar: Grammar, first_control: int) -> int:
    return max([first_control + 2, *(run.ids.stop for run in grammar.runs)])


def _load_base(folder: ModelFolder, config: CheckpointConfig) -> dict[str, Tensor]:
    """Read the checkpoint's files, and check that they have exactly the parameters of the configuration."""
    weights, label = folder.weights("model")
    # Early checkpoints contain the frequencies of the rotary embedding, which are not parameters.
    state = {name: value for name, value in weights.items() if not name.endswith(".rotary_emb.inv_freq")}
    embedding = state.get("model.embed_tokens.weight")
    if config.tie_word_embeddings and embedding is not None:
        # A file may contain the same weights twice.
        if not torch.equal(state.pop("lm_head.weight", embedding), embedding):
            raise BundleError(f"{label}: lm_head.weight must be the token embeddings, because config.json ties them")
        state["lm_head.weight"] = embedding
    check_shapes(LlamaCheckpoint(config).state_dict(), state, label)
    return state


def _merge_adapter(
    state: dict[str, Tensor], folder: ModelFolder, config: CheckpointConfig, vocabulary_size: int
) -> None:
    """Add the adapter to the weights, and replace the token embeddings and the output weights by the adapter's."""
    values = folder.config("adapter_config.json")
    check_adapter(folder.label("adapter_config.json"), values)
    adapter, label = folder.weights("adapter_model")
    targets = [
        name.removesuffix(".weight")
        for name in state
        if name.removesuffix(".weight").rpartition(".")[2] in values["target_modules"]
    ]
    halves = {f"{_ADAPTER_PREFIX}{target}.lora_{half}.weight" for target in targets for half in "AB"}
    check_names({*halves, *(_ADAPTER_PREFIX + name for name in _VOCABULARY_WEIGHTS)}, adapter, label)
    for target in targets:
        weight, rank = state[f"{target}.weight"], values["r"]
        first, second = (f"{_ADAPTER_PREFIX}{target}.lora_{half}.weight" for half in "AB")
        check_shape(first, (rank, weight.shape[1]), down := adapter[first], label)
        check_shape(second, (weight.shape[0], rank), up := adapter[second], label)
        merged = weight.float() + up.float() @ down.float() * (values["lora_alpha"] / rank)
        state[f"{target}.weight"] = merged.to(weight.dtype)
    for name in _VOCABULARY_WEIGHTS:
        shape, required = tuple(adapter[_ADAPTER_PREFIX + name].shape), (vocabulary_size, config.hidden_size)
        if shape != required:
            raise BundleError(
                f"{label} has token embeddings of shape {shape}, but the manifest's control tokens "
                f"require {required}: the adapter belongs to another vocabulary"
            )
        state[name] = adapter[_ADAPTER_PREFIX + name]


def _load_projections(folder: ModelFolder, model_width: int, device: torch.device, dtype: DtypeSetting) -> Projections:
    config = parse_config(ProjectionsConfig, folder.config(), folder.label("config.json"))
    if config.model_width != model_width:
        raise BundleError(
            f"{folder.label('config.json')}: model_width must be {model_width}, the width of the language model, "
            f"not {config.model_width}"
        )
    with without_values():
        projections = Projections(config)
    names = {to_v0(name): name for name in projections.state_dict()}
    state, label = folder.weights("model")
    check_shapes({to_v0(name): value for name, value in projections.state_dict().items()}, state, label)
    projections.load_state_dict({names[name]: value for name, value in state.items()}, assign=True)
    return projections.to(device, dtype_of(dtype, device, state.values()))
