"""A bundle with an encoder and a language model of a few thousand random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from motet.core.bundle import Bundle, digest_of
from motet.models.encoder.network import ImageBind, ImageBindConfig, SoundConfig, VisionConfig
from motet.models.llm.checkpoint_names import to_v0
from motet.models.llm.projections import Projections, ProjectionsConfig, ProjectorConfig

WIDTH = 16
ENCODER = ImageBindConfig(WIDTH, VisionConfig(16, 1, 2, 8, 16), SoundConfig(16, 1, 2))
RUNS = {"image": 2, "audio": 3}
SHAPES = {"image": [4, 6], "audio": [5]}
_MODEL_WIDTH = 32


def tiny_bundle(folder: Path, positions: int = 96, runs: Mapping[str, int] = RUNS, *, likelihood: float = 4) -> Bundle:
    """Write the bundle, and load it. `positions` is the maximum length of prompt and response, in tokens.

    `likelihood` scales the logits of signal tokens. With 0, responses have only text.
    """
    torch.manual_seed(0)
    text_tokens = _write_tokenizer(folder / "llm")
    control = text_tokens + 2
    model = LlamaForCausalLM(_config(control, text_tokens))
    save_file(model.state_dict(), folder / "llm" / "model.safetensors", {"format": "pt"})
    (folder / "llm" / "config.json").write_text(json.dumps(model.config.to_diff_dict()))
    _write_adapter(folder / "lora", control + 2 + sum(runs.values()), model, sum(runs.values()), likelihood)
    _write_projections(folder / "projections")
    _write_encoder(folder / "encoder")
    _write_manifest(folder, control, positions, runs)
    return Bundle.load(folder)


def _config(vocabulary_size: int, bos_token_id: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=_MODEL_WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=bos_token_id,
        eos_token_id=bos_token_id + 1,
        pad_token_id=None,
    )


def _write_tokenizer(folder: Path) -> int:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["### Human: show me\n### Assistant: here is\n###"] * 9, trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def _write_adapter(
    folder: Path, vocabulary_size: int, model: LlamaForCausalLM, signal_tokens: int, likelihood: float
) -> None:
    folder.mkdir()
    prefix = "base_model.model."
    state = {
        f"{prefix}model.embed_tokens.weight": torch.randn(vocabulary_size, _MODEL_WIDTH),
        f"{prefix}lm_head.weight": torch.randn(vocabulary_size, _MODEL_WIDTH),
    }
    # Signal tokens are likely and the end token is not, so responses reach their limit and request much media.
    head = state[f"{prefix}lm_head.weight"]
    head[vocabulary_size - signal_tokens :] *= likelihood
    head[model.config.eos_token_id] = 0
    for layer in range(model.config.num_hidden_layers):
        for part in "qkvo":
            name = f"{prefix}model.layers.{layer}.self_attn.{part}_proj"
            state[f"{name}.lora_A.weight"] = torch.randn(4, _MODEL_WIDTH)
            state[f"{name}.lora_B.weight"] = torch.randn(_MODEL_WIDTH, 4)
    save_file(state, folder / "adapter_model.safetensors")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    config = {"r": 4, "lora_alpha": 4, "target_modules": targets, "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def _write_projections(folder: Path) -> None:
    folder.mkdir()
    sizes = {name: (shape if len(shape) == 2 else [1, *shape]) for name, shape in SHAPES.items()}
    outputs = {name: ProjectorConfig(queries, width, 8, 2, 1, 16) for name, (queries, width) in sizes.items()}
    config = ProjectionsConfig(WIDTH, _MODEL_WIDTH, outputs)
    state = {to_v0(name): value for name, value in Projections(config).state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(config)))


def _write_encoder(folder: Path) -> None:
    folder.mkdir()
    save_file(ImageBind(ENCODER).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(ENCODER)))


def _write_manifest(folder: Path, control: int, positions: int, runs: Mapping[str, int]) -> None:
    media_types = {"image": "image/png", "audio": "audio/wav"}
    manifest = {
        "name": "tiny",
        "licence": "Apache-2.0",
        "description": "For tests.",
        "encoder": {"kind": "imagebind", "path": "encoder", "modalities": ["image", "audio", "video"]},
        "language_model": {
            "path": "llm",
            "lora": "lora",
            "projections": "projections",
            "prompt": "vicuna-v0",
            "first_control": control,
            "max_tokens": positions,
        },
        "signals": {name: {"token": f"[{name}{{i}}]", "run": run, "decoder": name} for name, run in runs.items()},
        "decoders": {
            name: {
                "kind": "toy",
                "path": f"decoders/{name}",
                "conditioning": shape,
                "media_type": media_types[name],
                "steps": 1,
                "guidance": 1.0,
            }
            for name, shape in SHAPES.items()
        },
        "files": {path.relative_to(folder).as_posix(): digest_of(path) for path in folder.rglob("*") if path.is_file()},
    }
    (folder / "bundle.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
