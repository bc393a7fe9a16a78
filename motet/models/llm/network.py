"""The language model's network: a LLaMA through transformers, its adapter through peft, its projections.

Loading is strict. A checkpoint that lacks a parameter, or has one too many, is refused by name: a projection
that silently stays random is the oldest bug of NExT-GPT's users.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from motet.models.llm.attention import PackedAttention, TokenRange, causal_mask
from motet.models.llm.kv_cache import KvCache
from motet.models.llm.llama_layer import Layer, RotaryTables, rotary_tables
from motet.models.llm.packed_linear import PackedLinear
from motet.models.llm.projections import Projections
from motet.models.llm.tokenized_prompt import TokenizedPrompt

BLOCK = 32
"""Tokens of a script that are read in one piece. Always the same pieces, so that sharing them changes nothing."""

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
        self._head = PackedLinear([model.lm_head])
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
        self._turns = rotary_tables(cos[0].to(self.device), sin[0].to(self.device))
        self._layers = [Layer(layer) for layer in model.model.layers]
        self.beginning = int(model.config.bos_token_id)
        """The id that every script begins with."""
        self.end = int(model.config.eos_token_id)
        """The id that ends an answer."""

    def cache(self, limit: int) -> KvCache:
        """Memory for so many tokens of this network."""
        return KvCache(self.shape, limit, self.dtype, self.device)

    @torch.inference_mode()
    def embed_script(self, script: TokenizedPrompt) -> Tensor:
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
    def forward(self, embedded: Tensor, places: Sequence[TokenRange], cache: KvCache, wanted: Sequence[int]) -> Tensor:
        """One pass: the states after the last norm of the `wanted` rows, (wanted, width).

        `embedded`, (tokens, width), are the tokens at all `places` in their order; their keys and values are kept
        there. What stands before each place must have been kept already, or be in the same pass.
        """
        count = len(embedded)
        kept = torch.tensor([place.base + each for place in places for each in range(*place.span)], device=self.device)
        turns = self._turns_at(places, count)
        attend = PackedAttention(places, cache, self._causal, self._scale, gather=self.device.type != "cpu")
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

    def _turns_at(self, places: Sequence[TokenRange], count: int) -> RotaryTables:
        positions = [each for place in places for each in range(*place.span)]
        index = torch.tensor(positions + [0] * (_ROWS - count), device=self.device)
        return self._turns[0][index], self._turns[1][index]


def _enough(rows: Tensor) -> Tensor:
    """The rows, and zeros where they are fewer than `_ROWS`."""
    return pad(rows, (0, 0, 0, _ROWS - len(rows))) if len(rows) < _ROWS else rows
