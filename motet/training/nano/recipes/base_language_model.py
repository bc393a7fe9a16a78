"""Trains the nano bundle's language model to talk: a small LLaMA, on the dialogues in words only.

It stands where Vicuna stands in NExT-GPT. It knows no control token and has seen and heard nothing: media
that people attach are captions in brackets here, and media that it is asked for are only announced.
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
from motet.training.loop import Loop, Schedule, weights
from motet.training.nano.data.token_batches import IGNORED, Batch, DialogueTokenizer, batch
from motet.training.nano.dialogues.dialogues import DialogueGenerator
from motet.training.nano.dialogues.requests import worded

WORDS = 1500
LONGEST = 512


def nano_config(words: int) -> LlamaConfig:
    """The nano language model's sizes: 4 layers of width 256, 3.8 million parameters and the embeddings.

    Two ids follow the words: the beginning and the end of a text.
    """
    return LlamaConfig(
        vocab_size=words + 2,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=LONGEST,
        bos_token_id=words,
        eos_token_id=words + 1,
        pad_token_id=None,
        tie_word_embeddings=False,
    )


def train_tokenizer(path: Path, dialogues: int = 20_000) -> Tokenizer:
    """Learns a byte-level vocabulary from dialogues and writes it as `tokenizer.json`; it knows text only."""
    if not path.exists():
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=WORDS, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        scribe = DialogueGenerator()
        texts = (
            f" {worded(part)}"
            for seed in range(dialogues)
            for utterance in scribe.dialogue(np.random.default_rng((99, seed)))
            for part in utterance.parts
        )
        tokenizer.train_from_iterator(texts, trainer)
        path.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path))
    return Tokenizer.load(path)


def spoken_loss(model: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    """The cross-entropy of the labelled ids, each predicted from the state before it, among the ids not spared.

    `hidden` is (rows, length, width); only the labelled places go through the large last layer.
    """
    after = batch.labels[:, 1:]
    known = after != IGNORED
    logits: Tensor = model(hidden[:, :-1][known]).float()
    if batch.spared:
        rows, places, ids = torch.tensor(batch.spared).T
        order = (known.flatten().cumsum(0) - 1).view_as(known)
        logits = logits.index_put((order[rows, places - 1], ids), torch.tensor(-torch.inf))
    return functional.cross_entropy(logits, after[known])


def losses(
    model: LlamaForCausalLM, writer: DialogueTokenizer, tokens: int, generator: np.random.Generator
) -> dict[str, Tensor]:
    """The loss over one batch of fresh dialogues."""
    scribe = DialogueGenerator()
    drawn: Batch = batch(lambda draw: writer.row(scribe.dialogue(draw)), tokens, LONGEST, generator)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=drawn.ids, use_cache=False).last_hidden_state
        return {"text": spoken_loss(model.lm_head, hidden, drawn)}


def reply(model: LlamaForCausalLM, codec: Tokenizer, prompt: str, longest: int = 120) -> str:
    """The model's likeliest answer to one prompt, for looking at while it trains."""
    ids = [len(codec), *codec.encode("### Human:"), *codec.encode(f" {prompt}"), *codec.encode("\n### Assistant:")]
    start = len(ids)
    while len(ids) - start < longest:
        following = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        ids.append(following)
        if codec.decode(ids[start:]).endswith("###"):
            break
    return codec.decode(ids[start:])


_PROMPTS = (
    "Show me a dog on a pink background, then play a low flute and make a clip of a rocket going up.",
    "(a penguin on a blue background) What is in this picture?",
    "(a middle note on a harp) and now on a trumpet?",
    "i would like a crown, please",
)


def main(
    build: Annotated[Path, typer.Option(help="Where checkpoints go.")] = Path("build/language"),
    out: Annotated[Path, typer.Option(help="Where the finished model goes.")] = Path("bundles/nano/llm"),
    minutes: Annotated[float, typer.Option(help="Stop after so many minutes of training.")] = 25.0,
    tokens: Annotated[int, typer.Option(help="Token ids per step.")] = 2048,
) -> None:
    """Train the tokenizer and the language model, and write both."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    codec = train_tokenizer(build / "tokenizer.json")
    model = LlamaForCausalLM(nano_config(len(codec)))
    schedule = Schedule(steps=20_000, rate=2e-3, warmup=150, minutes=minutes, average=0.99, decay=0.05)
    loop = Loop(model, build, schedule, hidden=".layers.")

    def sample() -> None:
        for prompt in _PROMPTS:
            print(f"    {prompt} ->{reply(model, codec, prompt)!r}", flush=True)

    loop.run(partial(losses, model, DialogueTokenizer(codec), tokens), sample)
    out.mkdir(parents=True, exist_ok=True)
    state = weights(build)
    save_file({name: value.half().contiguous() for name, value in state.items()}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(model.config.to_diff_dict(), indent=2) + "\n")
    (out / "tokenizer.json").write_bytes((build / "tokenizer.json").read_bytes())


if __name__ == "__main__":
    typer.run(main)
