"""The nano language model in training: a frozen LLaMA, and all that NExT-GPT lets learn around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from motet.core.signals import Grammar
from motet.models.llm.checkpoint_names import to_v0
from motet.models.llm.projections import Projections, ProjectionsConfig, ProjectorConfig, distance
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.data.token_batches import Batch
from motet.training.nano.recipes.base_language_model import spoken_loss
from motet.training.nano.recipes.encoder import blurred
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import Thing

# Lengths of the runs, in token order (fact sheet 1.6).
RUNS: Mapping[str, int] = {"image": 4, "video": 24, "audio": 8}
LORA = LoraConfig(
    r=32,
    lora_alpha=32,
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
    lora_dropout=0.0,
    task_type="CAUSAL_LM",
)
# The losses are norms of vectors of very different length; these bring them to one size.
_WEIGHTS = {"image": 0.5, "video": 0.5, "audio": 3.0}


def nano_projections(encoder_width: int, model_width: int) -> ProjectionsConfig:
    """The nano projections' sizes: a quarter of v0's in width, half in depth."""
    queries = {"image": caption_encoder.ROWS, "video": caption_encoder.ROWS, "audio": 1}
    return ProjectionsConfig(
        encoder_width,
        model_width,
        {name: ProjectorConfig(queries[name], caption_encoder.WIDTH, 128, 4, 2, 256) for name in RUNS},
    )


class AlignmentModel(nn.Module):
    """The language model with adapter, larger vocabulary and projections."""

    def __init__(self, base: LlamaForCausalLM, grammar: Grammar, projections: ProjectionsConfig) -> None:
        super().__init__()
        rows = max(run.ids.stop for run in grammar.runs)
        _grow(base, rows)
        self.grammar = grammar
        self.language = get_peft_model(base, LORA)
        self.projections = Projections(projections)

    @property
    def llama(self) -> LlamaForCausalLM:
        """The language model inside the adapter."""
        llama: LlamaForCausalLM = self.language.base_model.model
        return llama

    def learn(self, parts: frozenset[str]) -> None:
        """Sets which parts learn (see `Stage`); the language model's own weights never do."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(_part_of(name) in parts)

    def losses(self, batch: Batch, bank: EmbeddingBank) -> dict[str, Tensor]:
        """The text's cross-entropy, and per modality the distance of the conditioning to the captions'."""
        with torch.autocast("cpu", torch.bfloat16):
            embedded = self.embedded(batch, bank)
            hidden = self.llama.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
            losses = {"text": spoken_loss(self.llama.lm_head, hidden, batch)}
            if not next(self.projections.outputs.parameters()).requires_grad:
                return losses
            for modality, places in _by_modality(batch).items():
                projected = self.conditioning(modality, [(row, place) for row, place, _ in places], hidden, embedded)
                target = torch.cat([taught(thing) for _, _, thing in places])
                losses[modality] = _WEIGHTS[modality] * distance(projected.float(), target)
        return losses

    def embedded(self, batch: Batch, bank: EmbeddingBank) -> Tensor:
        """The input vectors of a batch, those of attached media in their places, (rows, length, width)."""
        embedded: Tensor = self.llama.model.embed_tokens(batch.ids)
        if not batch.seen:
            return embedded
        vectors = self.projections.llama_proj(blurred(bank.draw([thing for _, _, thing in batch.seen])))
        rows, places = [row for row, _, _ in batch.seen], [place for _, place, _ in batch.seen]
        return embedded.index_put((torch.tensor(rows), torch.tensor(places)), vectors.to(embedded.dtype))

    def conditioning(self, modality: str, places: list[tuple[int, int]], hidden: Tensor, embedded: Tensor) -> Tensor:
        """What the runs of one modality that start at the places are projected to."""
        length = self.grammar.run_of(modality).length
        states = torch.stack([hidden[row, place : place + length] for row, place in places])
        tokens = torch.stack([embedded[row, place : place + length] for row, place in places])
        projected: Tensor = self.projections.outputs[modality](states, tokens)
        return projected

    def export(self, lora: Path, projections: Path) -> None:
        """Writes the adapter in peft's layout, with embeddings and last layer as v0 has them, and the projections."""
        lora.mkdir(parents=True, exist_ok=True)
        projections.mkdir(parents=True, exist_ok=True)
        delta = {
            name.removeprefix("language.").replace(".default.", "."): _half(value)
            for name, value in self.state_dict().items()
            if _part_of(name) in {"lora", "words"}
        }
        save_file(delta, lora / "adapter_model.safetensors")
        config = LORA.to_dict() | {"target_modules": sorted(LORA.target_modules), "inference_mode": True}
        kept = ("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "bias", "inference_mode")
        (lora / "adapter_config.json").write_text(json.dumps({key: config[key] for key in kept}, indent=2) + "\n")
        state = {to_v0(name): _half(value) for name, value in self.projections.state_dict().items()}
        save_file(state, projections / "model.safetensors")
        sizes = json.dumps(asdict(self.projections.config), indent=2)
        (projections / "config.json").write_text(sizes + "\n")


@torch.no_grad()
def _grow(base: LlamaForCausalLM, rows: int) -> None:
    """Adds rows to the embeddings and the last layer, near the mean of the old ones: no likelier than another word."""
    old = base.config.vocab_size
    base.resize_token_embeddings(rows, mean_resizing=False)
    for words in (base.model.embed_tokens.weight, base.lm_head.weight):
        spread = 0.1 * words[:old].std() * torch.randn(rows - old, words.shape[1])
        words[old:] = words[:old].mean(dim=0) + spread


@cache
def taught(thing: Thing) -> Tensor:
    """What the thing's decoder was taught with, (1, queries, width)."""
    return caption_encoder.encode(thing.modality, [thing.caption])


def _by_modality(batch: Batch) -> dict[str, list[tuple[int, int, Thing]]]:
    grouped: dict[str, list[tuple[int, int, Thing]]] = {}
    for row, place, thing in batch.runs:
        grouped.setdefault(thing.modality, []).append((row, place, thing))
    return grouped


def _part_of(name: str) -> str:
    if "lora_" in name:
        return "lora"
    if "embed_tokens" in name or "lm_head" in name:
        return "words"
    if "llama_proj" in name:
        return "inputs"
    return "outputs" if name.startswith("projections.") else "frozen"


def _half(value: Tensor) -> Tensor:
    return value.detach().half().contiguous()
