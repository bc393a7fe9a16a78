"""The trained projections: from the encoder to the language model, and from the language model to the decoders.

The input projection is one linear layer for all modalities. The output projection is NExT-GPT's TextFcLayer
(section 1.8 of the fact sheet: `gen_text_hidden_fcs`), with the parameter names of v0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ProjectorConfig:
    """The sizes of one output projection. The defaults are those of v0.

    (`queries`, `out_width`) is the shape of the decoder's conditioning, (77, 768) for Stable Diffusion 1.5. `layers` is
    the number of layers of the transformer's encoder, and of its decoder. `inside` is the width of the feed-forward
    layers.
    """

    queries: int
    out_width: int
    width: int = 512
    heads: int = 4
    layers: int = 4
    inside: int = 2048


@dataclass(frozen=True, slots=True)
class ProjectionsConfig:
    """The projections of a language model of width `model_width` and an encoder of width `encoder_width`."""

    encoder_width: int
    model_width: int
    outputs: Mapping[str, ProjectorConfig]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ProjectionsConfig:
        """Return the config in a bundle's `projections/config.json`. Raises TypeError or KeyError for a wrong entry."""
        outputs = {name: ProjectorConfig(**sizes) for name, sizes in values["outputs"].items()}
        return cls(values["encoder_width"], values["model_width"], outputs)


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


def alignment_loss(projected: Tensor, target: Tensor) -> Tensor:
    """Return NExT-GPT's alignment loss: the mean over all queries of the L2 norm of the difference, not squared."""
    return (projected - target).square().sum(dim=-1).clamp(min=1e-12).sqrt().mean()
