"""The language model's network: a LLaMA through transformers, its adapter through peft, its projections.

Loading is strict. A checkpoint that lacks a parameter, or has one too many, is refused by name: a projection
that silently stays random is the oldest bug of NExT-GPT's users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.utils import logging

from motet.core.bundle import Bundle
from motet.core.errors import BundleError
from motet.core.signals import Grammar
from motet.models.attention import Attention, Place, causal_mask
from motet.models.codec import TextCodec
from motet.models.device import device_of
from motet.models.kv_cache import KvCache
from motet.models.layer import Layer, Turns, turns_of
from motet.models.linear import Linear
from motet.models.projectors import Projections, ProjectionsConfig
from motet.models.script import Script
from motet.models.v0_names import to_v0

BLOCK = 32
"""Tokens of a script that are read in one piece. Always the same pieces, so that sharing them changes nothing."""

_WORDS = ("base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight")
# From this many rows on, a matrix product's rows come out the same whatever the others are: MKL has other kernels for
# fewer, and no library promises as much. So there are never fewer, and an answer is the same alone and beside others.
_ROWS = 4


class Llama:
    """The network of one bundle. It holds no answer's state: that is in the cache it is given.

    The tokens of a pass are packed: whoever they belong to, they go through every layer as rows of one matrix, and
    only attention knows them apart. Hence no padding, and a pass may hold anything: parts of scripts, single tokens
    and whole runs.
    """

    def __init__(self, model: LlamaForCausalLM, projections: Projections, positions: int, longest_run: int = 1) -> None:
        """For answers of at most `positions` tokens with their scripts, and runs of at most `longest_run`."""
        model = model.requires_grad_(False).eval()
        self._words = model.model.embed_tokens
        self._norm = model.model.norm
        self._head = Linear([model.lm_head])
        self.projections = projections.requires_grad_(False).eval()
        self.device = model.device
        self.dtype = model.dtype
        attention = model.model.layers[0].self_attn
        self.shape = (len(model.model.layers), model.config.num_key_value_heads, attention.head_dim)
        """Of `KvCache`: layers, heads of keys, width of one."""
        self._scale = float(attention.scaling)
        self._causal = causal_mask(max(BLOCK, longest_run), positions, self.dtype, self.device)
        # Made anew: whoever casts a model to half precision casts its frequencies too, and far positions go astray.
        rotary = LlamaRotaryEmbedding(model.config)
        cos, sin = rotary(torch.empty(0, dtype=self.dtype), torch.arange(positions)[None])
        self._turns = turns_of(cos[0].to(self.device), sin[0].to(self.device))
        self._layers = [Layer(layer) for layer in model.model.layers]
        self.beginning = int(model.config.bos_token_id)
        """The id that every script begins with."""
        self.end = int(model.config.eos_token_id)
        """The id that ends an answer."""

    def cache(self, limit: int) -> KvCache:
        """Memory for so many tokens of this network."""
        return KvCache(self.shape, limit, self.dtype, self.device)

    @torch.inference_mode()
    def embed_script(self, script: Script) -> Tensor:
        """The vectors that a script's tokens enter the network as, (tokens, width)."""
        embedded = self.embed(script.ids.tolist())
        if script.places:
            projected = self.projections.llama_proj(script.embeddings.to(self.device))
            embedded[list(script.places)] = projected.to(self.dtype)
        return embedded

    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> Tensor:
        """The vectors of tokens, (tokens, width)."""
        return self._words(torch.tensor(ids, dtype=torch.long, device=self.device))

    @torch.inference_mode()
    def forward(self, embedded: Tensor, places: Sequence[Place], cache: KvCache, wanted: Sequence[int]) -> Tensor:
        """One pass: the states after the last norm of the `wanted` rows, (wanted, width).

        `embedded`, (tokens, width), are the tokens at all `places` in their order; their keys and values are kept
        there. What stands before each place must have been kept already, or be in the same pass.
        """
        count = len(embedded)
        kept = torch.tensor([place.base + each for place in places for each in range(*place.span)], device=self.device)
        turns = self._turns_at(places, count)
        attend = Attention(places, cache, self._causal, self._scale, gather=self.device.type != "cpu")
        # Before the layers: on a GPU, what is copied after them waits for them.
        last = torch.tensor(wanted, dtype=torch.long, device=self.device)
        states = _enough(embedded)
        for number, layer in enumerate(self._layers):
            queries, told = layer.project(states, turns)
            cache.memory[number].flatten(0, 1).index_copy_(1, kept, told[:count].transpose(0, 1))
            states = layer.finish(states, _enough(attend(number, queries[:count])))
        return self._norm(states[last])

    @torch.inference_mode()
    def logits(self, states: Tensor) -> Tensor:
        """What may follow each of these states, (states, vocabulary), float32."""
        return self._head(_enough(states))[: len(states)].float()

    @torch.inference_mode()
    def conditioning(self, modality: str, states: Tensor, embedded: Tensor) -> Tensor:
        """What a run of signal tokens means to a decoder, (queries, width).

        Both are the run's, (run, width): the `states` after the last norm, and what was `embedded`.
        """
        projected: Tensor = self.projections.outputs[modality](states[None].float(), embedded[None].float())[0]
        return projected

    def _turns_at(self, places: Sequence[Place], count: int) -> Turns:
        positions = [each for place in places for each in range(*place.span)]
        index = torch.tensor(positions + [0] * (_ROWS - count), device=self.device)
        return self._turns[0][index], self._turns[1][index]


def _enough(rows: Tensor) -> Tensor:
    """The rows, and zeros where they are fewer than `_ROWS`."""
    return pad(rows, (0, 0, 0, _ROWS - len(rows))) if len(rows) < _ROWS else rows


def load_llama(bundle: Bundle, device: str = "auto") -> Llama:
    """The network of a bundle's language model, on the device of that setting (`device_of`).

    It computes in float32 on a CPU, in bfloat16 elsewhere. Raises `BundleError`, naming the file and the parameter.
    """
    place = device_of(device)
    entry = bundle.manifest.language_model
    model = load_network(bundle)
    projections = _projections(bundle.path(entry.projections), model.config.hidden_size)
    model = model.to(place, torch.float32 if place.type == "cpu" else torch.bfloat16)
    longest = max((run.length for run in bundle.manifest.grammar.runs), default=1)
    return Llama(model, projections.to(place), entry.max_tokens, longest)


def load_network(bundle: Bundle) -> LlamaForCausalLM:
    """Transformers' own network of a bundle's language model, its adapter merged, in float32. Raises `BundleError`."""
    entry = bundle.manifest.language_model
    model = _base(bundle.path(entry.path))
    words = _vocabulary(bundle.manifest.grammar, entry.first_control)
    model.resize_token_embeddings(words, mean_resizing=False)
    return model if entry.lora is None else _adapted(model, bundle.path(entry.lora))


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
