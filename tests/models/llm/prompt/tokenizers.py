"""Small tokenizers of each kind, trained in the test."""

from __future__ import annotations

from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from motet.models.llm.tokenizer import Tokenizer
from tests.models.llm import sentencepiece_tokenizers
from tests.models.llm.sentencepiece_tokenizers import prepend_and_strip, write

_TEXT = ["### Human: show me\n### Assistant: here is\n### Human: Human\n###"] * 9


def byte_level(folder: Path, vocabulary_size: int = 300) -> Tokenizer:
    """Return a byte-level tokenizer, as of GPT-2. 256 tokens are one for each byte, without merges."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, folder, vocabulary_size)


def prepending(folder: Path) -> Tokenizer:
    """Return a tokenizer with the `Prepend` normalizer, as of LLaMA."""
    return Tokenizer.load(write(prepend_and_strip(), folder))


def metaspace(folder: Path) -> Tokenizer:
    """Return a tokenizer with the `Metaspace` pre-tokenizer, as of newer LLaMA files."""
    return Tokenizer.load(write(sentencepiece_tokenizers.metaspace(), folder))


def compatibility(folder: Path) -> Tokenizer:
    """Return a byte-level tokenizer that normalizes full-width characters to ASCII."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, folder, 300)


def _trained(tokenizer: tokenizers.Tokenizer, folder: Path, size: int) -> Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_TEXT, trainer)
    return Tokenizer.load(write(tokenizer, folder))
