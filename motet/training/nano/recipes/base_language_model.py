"""Train the base language model of the nano bundle: a small LLaMA, on dialogues as plain text.

    python -m motet.training.nano.recipes.base_language_model

The base language model replaces Vicuna of NExT-GPT. It has no control tokens and no media: attached media are captions
in brackets, and requested media are left out after the sentence that presents them.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tokenizers
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from motet.models.llm.tokenizer import Tokenizer
from motet.training.loop import Schedule, TrainingLoop, load_weights
from motet.training.nano.data.token_batches import IGNORED, DialogueTokenizer, TokenBatch, draw_batch
from motet.training.nano.dialogues.dialogue import plain_text
from motet.training.nano.dialogues.mixture import DialogueMixture
from motet.training.precision import fast_precision

VOCABULARY = 1500
# Largest length of a sequence, in tokens.
MAX_LENGTH = 512


def nano_config(vocabulary: int) -> LlamaConfig:
    """Return the sizes of the nano language model: 4 layers of width 256, 3.8 million parameters and the embeddings.

    Two ids follow the vocabulary: the beginning and the end of a text.
    """
    return LlamaConfig(
        vocab_size=vocabulary + 2,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=vocabulary,
        eos_token_id=vocabulary + 1,
        pad_token_id=None,
        tie_word_embeddings=False,
    )


def train_tokenizer(path: Path, dialogues: int = 20_000) -> Tokenizer:
    """Train a byte-level tokenizer on dialogues and write it to `path`. Load it if the file exists."""
    if not path.exists():
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=VOCABULARY, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        generator = DialogueMixture()
        texts = (
            f" {plain_text(part)}"
            for seed in range(dialogues)
            for utterance in generator.dialogue(np.random.default_rng((99, seed)))
            for part in utterance.parts
        )
        tokenizer.train_from_iterator(texts, trainer)
        path.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path))
    return Tokenizer.load(path)


def text_loss(last_layer: nn.Module, hidden: Tensor, batch: TokenBatch) -> Tensor:
    """Return the cross-entropy of the labels, without the excluded ids of the batch.

    `hidden` is (sequences, length, width). Only the positions with a label go through the large last layer.
    """
    labels = batch.labels[:, 1:]
    has_label = labels != IGNORED
    logits: Tensor = last_layer(hidden[:, :-1][has_label]).float()
    if batch.excluded:
        sequences, positions, ids = torch.tensor(batch.excluded).T
        index = (has_label.flatten().cumsum(0) - 1).view_as(has_label)
        logits = logits.index_put((index[sequences, positions - 1], ids), torch.tensor(-torch.inf))
    return functional.cross_entropy(logits, labels[has_label])


def losses(
    model: LlamaForCausalLM, tokenizer: DialogueTokenizer, tokens: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return the loss over one batch of new dialogues."""
    generator = DialogueMixture()
    batch = draw_batch(lambda rng: tokenizer.tokenize(generator.dialogue(rng)), tokens, MAX_LENGTH, rng)
    with fast_precision():
        hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
        return {"text": text_loss(model.lm_head, hidden, batch)}


def reply(model: LlamaForCausalLM, tokenizer: Tokenizer, prompt: str, max_tokens: int = 120) -> str:
    """Return the model's greedy answer to one prompt, as a sample during training."""
    texts = ("### Human:", f" {prompt}", "\n### Assistant:")
    ids = [len(tokenizer), *(token for text in texts for token in tokenizer.encode(text))]
    start = len(ids)
    while len(ids) - start < max_tokens:
        next_id = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        ids.append(next_id)
        if tokenizer.decode(ids[start:]).endswith("###"):
            break
    return tokenizer.decode(ids[start:])


_PROMPTS = (
    "Show me a dog on a pink background, then play a low flute and make a clip of a rocket going up.",
    "(a penguin on a blue background) What is in this picture?",
    "(a middle note on a harp) and now on a trumpet?",
    "i would like a crown, please",
)


def main(
    build: Annotated[Path, typer.Option(help="Folder of the checkpoints.")] = Path("build/language"),
    out: Annotated[Path, typer.Option(help="Folder of the trained model.")] = Path("bundles/nano/llm"),
    minutes: Annotated[float, typer.Option(help="Longest training in minutes of CPU time.")] = 25.0,
    tokens: Annotated[int, typer.Option(help="Token ids per step.")] = 2048,
) -> None:
    """Train the tokenizer and the base language model, and write both."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(build / "tokenizer.json")
    model = LlamaForCausalLM(nano_config(len(tokenizer)))
    schedule = Schedule(steps=20_000, rate=2e-3, warmup=150, minutes=minutes, average=0.99, decay=0.05)
    loop = TrainingLoop(model, build, schedule, hidden=".layers.")

    def sample() -> None:
        for prompt in _PROMPTS:
            print(f"    {prompt} ->{reply(model, tokenizer, prompt)!r}", flush=True)

    loop.run(partial(losses, model, DialogueTokenizer(tokenizer), tokens), sample)
    out.mkdir(parents=True, exist_ok=True)
    state = load_weights(build)
    save_file({name: value.half().contiguous() for name, value in state.items()}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(model.config.to_diff_dict(), indent=2) + "\n")
    (out / "tokenizer.json").write_bytes((build / "tokenizer.json").read_bytes())


if __name__ == "__main__":
    typer.run(main)
