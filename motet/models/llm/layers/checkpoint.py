"""The parameters of a LLaMA checkpoint, as modules with the names that transformers uses.

`LlamaForCausalLM` of transformers has the same parameters. Its import takes longer than all other steps of a command's
start, and `Llama` uses only the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, rms_norm, silu

_DEFAULT_ROTATION = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """The fields of a checkpoint's `config.json` that determine its parameters and its computation.

    The names and the default values are those of the LLaMA configuration of transformers.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    bos_token_id: int = 1
    eos_token_id: int = 2
    rms_norm_eps: float = 1e-6
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All fields of the file."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration in a `config.json`. Its fields must be checked, see `check_language_model`."""
        heads = values["num_attention_heads"]
        derived = {
            "num_key_value_heads": values.get("num_key_value_heads") or heads,
            "head_dim": values.get("head_dim") or values["hidden_size"] // heads,
            "source": values,
        }
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in values.items() if name in names} | derived)


def _without_values(*shape: int) -> nn.Parameter:
    # The modules of torch would fill their parameters with random numbers first. On the device "meta", that imports the
    # compiler of torch, which takes more than a second.
    return nn.Parameter(torch.empty(shape, device="meta"))


class _Linear(nn.Module):
    def __init__(self, width: int, outputs: int, bias: bool = False) -> None:
        super().__init__()
        self.out_features = outputs
        self.weight = _without_values(outputs, width)
        self.bias = _without_values(outputs) if bias else None


class _Embedding(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.weight = _without_values(tokens, width)

    def forward(self, ids: Tensor) -> Tensor:
        return embedding(ids, self.weight)


class _Norm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = _without_values(width)
        self.variance_epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        return rms_norm(states, self.weight.shape, self.weight, self.variance_epsilon)


class _Attention(nn.Module):
    def __init__(self, config: CheckpointConfig) -> None:
        super().__init__()
        self.head_dim, self.scaling = config.head_dim, config.head_dim**-0.5
        width, bias = config.hidden_size, config.attention_bias
        heads, key_heads = (
            number * config.head_dim for number in (config.num_attention_heads, config.num_key_value_heads)
        )
        self.q_proj = _Linear(width, heads, bias)
        self.k_proj = _Linear(width, key_heads, bias)
        self.v_proj = _Linear(width, key_heads, bias)
        self.o_proj = _Linear(heads, width, bias)


class _FeedForward(nn.Module):
    def __init__(self, config: CheckpointConfig) -> None:
        super().__init__()
        width, inside, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_proj = _Linear(width, inside, bias)
        self.up_proj = _Linear(width, inside, bias)
        self.down_proj = _Linear(inside, width, bias)
        self.act_fn = silu


class _Layer(nn.Module):
    def __init__(self, config: CheckpointConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = _FeedForward(config)
        self.input_layernorm = _Norm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = _Norm(config.hidden_size, config.rms_norm_eps)


class _Decoder(nn.Module):
    def __init__(self, config: CheckpointConfig) -> None:
        super().__init__()
        self.embed_tokens = _Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = _Norm(config.hidden_size, config.rms_norm_eps)


class LlamaCheckpoint(nn.Module):
    """The parameters of a LLaMA without values, until `load_state_dict(..., assign=True)` sets them."""

    def __init__(self, config: CheckpointConfig) -> None:
        super().__init__()
        self.config = config
        self.model = _Decoder(config)
        self.lm_head = _Linear(config.hidden_size, config.vocab_size)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return self.lm_head.weight.dtype


def rotary_angles(config: Any, positions: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of the rotary embedding, each (positions, head width).

    `config` is a `CheckpointConfig` or a configuration of transformers. Angles are computed in float32, because a half
    precision is wrong for late positions.
    """
    fields = config.source if isinstance(config, CheckpointConfig) else config.to_dict()
    scaled = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    index = torch.arange(positions)
    if (scaled.get("rope_type") or scaled.get("type") or _DEFAULT_ROTATION) != _DEFAULT_ROTATION:
        return _scaled_angles(fields, index, dtype)
    theta = fields.get("rope_theta") or scaled.get("rope_theta") or 10_000.0
    width = fields.get("head_dim") or config.head_dim
    frequencies = 1.0 / (theta ** (torch.arange(0, width, 2, dtype=torch.float) / width))
    angles = (frequencies[None, :, None] @ index[None, None].float()).transpose(1, 2)[0]
    both = torch.cat((angles, angles), dim=-1)
    return both.cos().to(dtype), both.sin().to(dtype)


def _scaled_angles(fields: Mapping[str, Any], index: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    # Few checkpoints scale their rotations. For them, the rules of transformers are worth its import.
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    cos, sin = LlamaRotaryEmbedding(LlamaConfig(**fields))(torch.empty(0, dtype=dtype), index[None])
    return cos[0], sin[0]
