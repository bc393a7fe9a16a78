"""The nano language model in training: a frozen LLaMA, and the parts around it that NExT-GPT trains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from motet.core.signals import Grammar
from motet.models.llm.checkpoint_names import to_v0
from motet.models.llm.projections import Projections, ProjectionsConfig, ProjectorConfig, alignment_loss
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.data.token_batches import TokenBatch
from motet.training.nano.recipes.base_language_model import text_loss
from motet.training.nano.recipes.encoder import with_noise
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import FILM, Thing
from motet.training.precision import fast_precision
from motet.training.stages import part_of

# The length of each modality's signal run, in token order (fact sheet 1.6).
RUN_LENGTHS: Mapping[str, int] = {"image": 4, "video": 24, "audio": 8, "animation": 4, "film": 1}
LORA = LoraConfig(
    r=32,
    lora_alpha=32,
    # NExT-GPT adapts the attention only. This model has 250 times fewer weights, and its dialogues need more of them.
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    lora_dropout=0.0,
    task_type="CAUSAL_LM",
)
# The losses are norms of vectors of very different lengths. These weights bring them to one scale.
_WEIGHTS = {"image": 0.5, "video": 0.5, "audio": 3.0, "animation": 0.5}
# A film depends only on its inputs. Its conditioning is the number 0, from a projection whose weights stay 0, so equal
# inputs give equal jobs.
_FILM = ProjectorConfig(queries=1, out_width=1, width=4, heads=1, layers=1, inside=4)


def nano_projections(encoder_width: int, model_width: int) -> ProjectionsConfig:
    """Return the sizes of the nano projections: a quarter of v0's width, half of its depth."""
    rows = {"image": caption_encoder.ROWS, "video": caption_encoder.ROWS, "audio": 1, "animation": caption_encoder.ROWS}
    outputs = {name: ProjectorConfig(count, caption_encoder.WIDTH, 128, 4, 2, 256) for name, count in rows.items()}
    return ProjectionsConfig(encoder_width, model_width, outputs | {FILM.modality: _FILM})


class AlignmentModel(nn.Module):
    """The language model with an adapter, a larger vocabulary and projections."""

    def __init__(self, base: LlamaForCausalLM, grammar: Grammar, projections: ProjectionsConfig) -> None:
        super().__init__()
        _extend_vocabulary(base, max(run.ids.stop for run in grammar.runs))
        self.grammar = grammar
        self.language = get_peft_model(base, copy(LORA))  # peft writes the base's name into the config
        self.projections = Projections(projections)
        if FILM.modality in self.projections.outputs:
            for parameter in self.projections.outputs[FILM.modality].parameters():
                nn.init.zeros_(parameter)

    @property
    def llama(self) -> LlamaForCausalLM:
        """The language model inside the adapter."""
        llama: LlamaForCausalLM = self.language.base_model.model
        return llama

    def train_parts(self, parts: frozenset[str]) -> None:
        """Set the parts to train, see `motet.training.stages.part_of`. All other weights stay frozen."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(part_of(name) in parts)
        if "base" in parts:
            for layer in self.modules():
                if isinstance(layer, LoraLinear):
                    layer.forward = partial(_merged_forward, layer)

    def losses(self, batch: TokenBatch, embeddings: EmbeddingBank) -> dict[str, Tensor]:
        """Return the cross-entropy of the text, and per modality the distance of the conditioning from its target."""
        with fast_precision():
            embedded = self.embedded(batch, embeddings)
            hidden = self.llama.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
            losses = {"text": text_loss(self.llama.lm_head, hidden, batch)}
            if not next(self.projections.outputs.parameters()).requires_grad:
                return losses
            for modality, runs in _runs_by_modality(batch).items():
                if modality == FILM.modality:
                    continue
                starts = [(sequence, position) for sequence, position, _ in runs]
                projected = self.conditioning(modality, starts, hidden, embedded)
                target = torch.cat([target_conditioning(thing) for _, _, thing in runs])
                losses[modality] = _WEIGHTS[modality] * alignment_loss(projected.float(), target)
        return losses

    def embedded(self, batch: TokenBatch, embeddings: EmbeddingBank) -> Tensor:
        """Return the input vectors of a batch, including those of attached media, (sequences, length, width)."""
        embedded: Tensor = self.llama.model.embed_tokens(batch.ids)
        if not batch.attachments:
            return embedded
        sequences, positions, things = zip(*batch.attachments, strict=True)
        vectors = self.projections.llama_proj(with_noise(embeddings.draw(things)))
        return embedded.index_put((torch.tensor(sequences), torch.tensor(positions)), vectors.to(embedded.dtype))

    def conditioning(self, modality: str, starts: list[tuple[int, int]], hidden: Tensor, embedded: Tensor) -> Tensor:
        """Return the projected conditioning of the runs of one modality, (runs, queries, width).

        `starts` are the (sequence, position) of the first tokens of the runs.
        """
        length = self.grammar.run_of(modality).length
        states = torch.stack([hidden[sequence, start : start + length] for sequence, start in starts])
        tokens = torch.stack([embedded[sequence, start : start + length] for sequence, start in starts])
        projected: Tensor = self.projections.outputs[modality](states, tokens)
        return projected

    def export(self, lora: Path, projections: Path) -> None:
        """Write the adapter in peft's layout, with the embeddings and the last layer as in v0, and the projections."""
        lora.mkdir(parents=True, exist_ok=True)
        projections.mkdir(parents=True, exist_ok=True)
        delta = {
            exported_name(name): _half(value)
            for name, value in self.state_dict().items()
            if part_of(name) in {"lora", "vocabulary"}
        }
        save_file(delta, lora / "adapter_model.safetensors")
        config = LORA.to_dict() | {"target_modules": sorted(LORA.target_modules), "inference_mode": True}
        kept = ("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "bias", "inference_mode")
        (lora / "adapter_config.json").write_text(json.dumps({key: config[key] for key in kept}, indent=2) + "\n")
        state = {to_v0(name): _half(value) for name, value in self.projections.state_dict().items()}
        save_file(state, projections / "model.safetensors")
        sizes = json.dumps(asdict(self.projections.config), indent=2)
        (projections / "config.json").write_text(sizes + "\n")

    def export_base(self, folder: Path) -> None:
        """Write the language model's own weights over those in `folder`. The vocabulary there does not change."""
        path = folder / "model.safetensors"
        own = {name: value for name, value in self.state_dict().items() if part_of(name) == "base"}
        changed = {_base_name(name): _half(value) for name, value in own.items()}
        save_file(load_file(path) | changed, path)


def _merged_forward(layer: LoraLinear, inputs: Tensor) -> Tensor:
    """Return the outputs of an adapted layer, with the adapter added to the layer's weights instead of its outputs.

    The gradients are the same. If the layer's own weights are trained, too, a step takes a fifth less time.
    """
    adapter = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    return functional.linear(inputs, layer.base_layer.weight + layer.scaling["default"] * adapter)


def _base_name(parameter: str) -> str:
    return parameter.removeprefix("language.base_model.model.").replace(".base_layer", "")


def exported_name(parameter: str) -> str:
    """Return the name of a parameter of the adapter or of the vocabulary in peft's layout."""
    return parameter.removeprefix("language.").replace(".default.", ".")


@torch.no_grad()
def _extend_vocabulary(base: LlamaForCausalLM, size: int) -> None:
    """Resize the embeddings and the last layer to `size` ids.

    The new rows are near the mean of the old ones, so the new ids are no more likely than others.
    """
    old = base.config.vocab_size
    base.resize_token_embeddings(size, mean_resizing=False)
    for weight in (base.model.embed_tokens.weight, base.lm_head.weight):
        spread = 0.1 * weight[:old].std() * torch.randn(size - old, weight.shape[1])
        weight[old:] = weight[:old].mean(dim=0) + spread


@cache
def target_conditioning(thing: Thing) -> Tensor:
    """Return the conditioning that the thing's decoder was trained with, (1, queries, width)."""
    return caption_encoder.encode(thing.modality, [thing.caption])


def _runs_by_modality(batch: TokenBatch) -> dict[str, list[tuple[int, int, Thing]]]:
    grouped: dict[str, list[tuple[int, int, Thing]]] = {}
    for sequence, position, thing in batch.runs:
        grouped.setdefault(thing.modality, []).append((sequence, position, thing))
    return grouped


def _half(value: Tensor) -> Tensor:
    return value.detach().half().contiguous()
