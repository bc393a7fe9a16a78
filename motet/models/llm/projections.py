"""The trained projections: from the encoder to the language model, and from the language model to the decoders.

The input projection is one linear layer for all modalities. The output projection is NExT-GPT's TextFcLayer
(section 1.8 of the fact sheet: `gen_text_hidden_fcs`), with the parameter names of v0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

_Width = Annotated[int, Field(ge=1, le=2**20)]
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class ProjectorConfig:
    """The sizes of one output projection. The defaults are those of v0.

    (`queries`, `out_width`) is the shape of the decoder's conditioning, (77, 768) for Stable Diffusion 1.5. `layers` is
    the number of layers of the transformer's encoder, and of its decoder. `inside` is the width of the feed-forward
    layers. `width` must be a multiple of `heads`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    queries: _Width
    out_width: _Width
    width: _Width = 512
    heads: _Width = 4
    layers: Annotated[int, Field(ge=1, le=1000)] = 4
    inside: _Width = 2048

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, {self.heads}")


@dataclass(frozen=True, slots=True)
class ProjectionsConfig:
    """The projections of a language model of width `model_width` and an encoder of width `encoder_width`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    encoder_width: _Width
    model_width: _Width
    outputs: Mapping[str, ProjectorConfig]


class TextFcLayer(nn.Module):
    """The projection from the model's states at one run of signal tokens to a decoder's conditioning.

    Learned queries attend to the run, so the shape of the output does not depend on the run's length.
    Shape: (batch, run, model_width) -> (batch, queries, out_width)
    """

    def __init__(self, model_width: int, config: ProjectorConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(model_width, config.width)
        sizes: dict[str, Any] = {
            "d_model": config.width,
            "nhead": config.heads,
            "dim_feedforward": config.inside,
            "dropout": 0.0,
            "batch_first": True,
            "norm_first": True,
        }
        # nn.Transformer's own encoder warns that it cannot use nested tensors, so the encoder is created here.
        encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**sizes), config.layers, nn.LayerNorm(config.width), enable_nested_tensor=False
        )
        self.tfm = nn.Transformer(custom_encoder=encoder, num_decoder_layers=config.layers, **sizes)
        self.model = nn.Linear(config.width, config.out_width)
        self.query_embs = nn.Parameter(torch.randn(1, config.queries, config.width))

    def forward(self, hidden: Tensor, embedded: Tensor) -> Tensor:
        """Project a run from its states, `hidden`, and its input embeddings, `embedded`."""
        run = self.fc(hidden + embedded)  # (batch, run, width)
        queries = self.query_embs.expand(len(run), -1, -1)
        projected: Tensor = self.model(self.tfm(run, queries))
        return projected


class Projections(nn.Module):
    """The input projection and one output projection per modality."""

    def __init__(self, config: ProjectionsConfig) -> None:
        super().__init__()
        self.config = config
        self.llama_proj = nn.Linear(config.encoder_width, config.model_width)
        self.outputs = nn.ModuleDict(
            {name: TextFcLayer(config.model_width, sizes) for name, sizes in config.outputs.items()}
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters, which the inputs must have."""
        return self.llama_proj.weight.dtype


def alignment_loss(projected: Tensor, target: Tensor) -> Tensor:
    """Return NExT-GPT's alignment loss: the mean over all queries of the L2 norm of the difference, not squared."""
    return (projected - target).square().sum(dim=-1).clamp(min=1e-12).sqrt().mean()
