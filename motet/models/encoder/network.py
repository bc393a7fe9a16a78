"""ImageBind's network: one transformer encoder per modality, with a joint embedding space.

It follows the reference implementation (facebookresearch/ImageBind, 53680b0): its state-dict names, its order of
operations, its epsilons. It has only the modalities that NExT-GPT needs, vision and audio. The sizes come from a
config, so `imagebind_huge` and the nano encoder share this code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

_Width = Annotated[int, Field(ge=1, le=2**16)]
_Count = Annotated[int, Field(ge=1, le=1000)]
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The sizes of the vision encoder. Lengths are in pixels. `imagebind_huge` has 1280, 32, 16, 14 and 224.

    `width` must be a multiple of `heads`, and `size` of `patch`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    width: _Width
    blocks: _Count
    heads: _Width
    patch: _Width
    size: _Width

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, {self.heads}")
        if self.size % self.patch:
            raise ValueError(f"size must be a multiple of patch, {self.patch}")

    @property
    def patches(self) -> int:
        """The number of patches of a picture."""
        return (self.size // self.patch) ** 2


@dataclass(frozen=True, slots=True)
class SoundConfig:
    """The sizes of the audio encoder. Its input is a spectrogram of `bins` mel bands and `frames` frames of 10 ms.

    `mean` and `deviation` normalise the log-mel values. They were measured on the training set. `width` must be a
    multiple of `heads`. `bins` and `frames` must be at least `kernel`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    width: _Width
    blocks: _Count
    heads: _Width
    kernel: _Count = 16
    stride: _Count = 10
    bins: _Count = 128
    frames: _Width = 204
    mean: float = -4.268
    deviation: Annotated[float, Field(gt=0)] = 9.138

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, {self.heads}")
        if min(self.bins, self.frames) < self.kernel:
            raise ValueError(f"bins and frames must be at least kernel, {self.kernel}")

    @property
    def patches(self) -> int:
        """The number of overlapping patches of a sound."""
        return ((self.bins - self.kernel) // self.stride + 1) * ((self.frames - self.kernel) // self.stride + 1)


@dataclass(frozen=True, slots=True)
class ImageBindConfig:
    """The sizes of an ImageBind. `width` is the width of the joint space, 1024 for `imagebind_huge`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    width: _Width
    vision: VisionConfig
    audio: SoundConfig


class Linear(nn.Linear):
    """An `nn.Linear` that is batch-invariant in evaluation on a CPU: a row's bits do not depend on the other rows.

    The order of the sums in a matrix product depends on its size, so the batch size would change the last bits. On a
    CPU, one row has enough tokens for full speed, so one product per row costs no time. On other devices, each call has
    a cost, so one product takes all rows, and the results differ by float error.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _linear(x, self.weight, self.bias, self.training)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, training: bool) -> Tensor:
    if training or x.device.type != "cpu":
        return functional.linear(x, weight, bias)
    return torch.stack([functional.linear(row, weight, bias) for row in x])


class Attention(nn.Module):
    """Multi-head self-attention with the parameters of `nn.MultiheadAttention`.

    With `extra`, one learned key and one learned value follow those of the sequence (`add_bias_kv`).
    Shape: (batch, tokens, width) -> the same.
    """

    def __init__(self, width: int, heads: int, extra: bool) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Linear(width, width)
        self.bias_k = nn.Parameter(torch.empty(1, 1, width)) if extra else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, width)) if extra else None
        nn.init.xavier_uniform_(self.in_proj_weight)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                nn.init.normal_(bias, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = _linear(x, self.in_proj_weight, self.in_proj_bias, self.training).chunk(3, dim=-1)
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat([key, self.bias_k.to(key.dtype).expand(len(x), -1, -1)], dim=1)
            value = torch.cat([value, self.bias_v.to(value.dtype).expand(len(x), -1, -1)], dim=1)
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]  # type: ignore[no-untyped-call]
        mixed = functional.scaled_dot_product_attention(*split)  # (batch, heads, tokens, width / heads)
        projected: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return projected


class Mlp(nn.Module):
    """The two-layer perceptron of a block. Shape: (..., width) -> (..., width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, 4 * width)
        self.fc2 = Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


class Block(nn.Module):
    """One pre-norm transformer block. Shape: (batch, tokens, width) -> the same."""

    def __init__(self, width: int, heads: int, extra: bool) -> None:
        super().__init__()
        self.attn = Attention(width, heads, extra)
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm_1(x))
        y: Tensor = x + self.mlp(self.norm_2(x))
        return y


class Trunk(nn.Module):
    """The transformer blocks of one modality. The vision trunk has a layer norm before its first block."""

    def __init__(self, config: VisionConfig | SoundConfig) -> None:
        super().__init__()
        sound = isinstance(config, SoundConfig)
        first: list[nn.Module] = [] if sound else [nn.LayerNorm(config.width, eps=1e-6)]
        self.pre_transformer_layer = nn.Sequential(*first)
        self.blocks = nn.Sequential(*(Block(config.width, config.heads, extra=sound) for _ in range(config.blocks)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(self.pre_transformer_layer(x))
        return y


class Positions(nn.Module):
    """The position embedding: one learned vector per token. The class token's vector is the first."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(nn.init.normal_(torch.empty(1, tokens, width), std=0.02))


class TwoFrames(nn.Module):
    """Repeat a picture as a clip of two equal frames: (batch, 3, size, size) -> (batch, 3, 2, size, size).

    A clip is returned unchanged.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x if x.ndim == 5 else x.unsqueeze(2).expand(-1, -1, 2, -1, -1)


class VisionStem(nn.Module):
    """Embed the patches of two frames. Shape: (batch, 3[, 2], size, size) -> (batch, patches, width)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        kernel = (2, config.patch, config.patch)
        self.proj = nn.Sequential(TwoFrames(), nn.Conv3d(3, config.width, kernel, stride=kernel, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(x)
        return y.flatten(2).transpose(1, 2)


class SoundStem(nn.Module):
    """Embed the patches of a mel spectrogram. Shape: (batch, 1, bins, frames) -> (batch, patches, width)."""

    def __init__(self, config: SoundConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, config.width, config.kernel, stride=config.stride, bias=False)
        self.norm_layer = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm_layer(self.proj(x).flatten(2).transpose(1, 2))
        return y


class Preprocessor(nn.Module):
    """Convert pixels or mel values to tokens. The class token is the first."""

    def __init__(self, stem: VisionStem | SoundStem, patches: int, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, width), std=0.02))
        self.rgbt_stem = stem
        self.pos_embedding_helper = Positions(patches + 1, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.rgbt_stem(x)  # (batch, patches, width)
        tokens = torch.cat([self.cls_token.to(tokens.dtype).expand(len(x), -1, -1), tokens], dim=1)
        y: Tensor = tokens + self.pos_embedding_helper.pos_embed
        return y


class ClassToken(nn.Module):
    """Return the class token. Shape: (batch, tokens, width) -> (batch, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def _head(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width, eps=1e-6), ClassToken(), Linear(width, out, bias=False))


class ImageBind(nn.Module):
    """The vision encoder and the audio encoder. The parameters have the names of the reference's checkpoints.

    The modality `vision` takes (batch, 3, size, size) or (batch, 3, 2, size, size), `audio` takes
    (batch, 1, bins, frames). Inputs are normalised. The output is (batch, width) of unit length, float32. Unlike the
    reference, and like NExT-GPT v0, sounds are not scaled by 20.
    """

    def __init__(self, config: ImageBindConfig) -> None:
        super().__init__()
        vision, audio = config.vision, config.audio
        self.config = config
        self.modality_preprocessors = nn.ModuleDict(
            {
                "vision": Preprocessor(VisionStem(vision), vision.patches, vision.width),
                "audio": Preprocessor(SoundStem(audio), audio.patches, audio.width),
            }
        )
        self.modality_trunks = nn.ModuleDict({"vision": Trunk(vision), "audio": Trunk(audio)})
        self.modality_heads = nn.ModuleDict(
            {"vision": _head(vision.width, config.width), "audio": _head(audio.width, config.width)}
        )

    def forward(self, modality: str, x: Tensor) -> Tensor:
        tokens = self.modality_trunks[modality](self.modality_preprocessors[modality](x))
        return functional.normalize(self.modality_heads[modality](tokens).float(), dim=-1)
