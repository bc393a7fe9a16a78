"""Tokenizers in the forms to which SentencePiece vocabularies are converted. The vocabulary has a few words."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

_SPACE = "\u2581"
_WORDS = ("the", "cat", "sat", "on", "###", "Human")
_MERGES = list(
    dict.fromkeys(
        (spelling[:end], spelling[end])
        for word in (_SPACE, *_WORDS)
        for spelling in (word, _SPACE + word)
        for end in range(1, len(spelling))
    )
)
_BYTES = [f"<0x{value:02X}>" for value in range(256)]
_TOKENS = ["<unk>", "<s>", "</s>", *_BYTES, _SPACE, *map(chr, range(33, 127)), *(a + b for a, b in _MERGES)]
_VOCABULARY = {token: number for number, token in enumerate(dict.fromkeys(_TOKENS))}


def prepend_and_strip() -> Tokenizer:
    """Return the form of LLaMA and Vicuna: the normalizer adds a space, and the decoder strips it."""
    tokenizer = _tokenizer()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def metaspace() -> Tokenizer:
    """Return the form in which a pre-tokenizer adds the space."""
    tokenizer = _tokenizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, "always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(_SPACE, "always"), decoders.Fuse()]
    )
    return tokenizer


def write(tokenizer: Tokenizer, folder: Path) -> Path:
    """Write `tokenizer.json`, and return its path."""
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def token(spelling: str) -> int:
    """Return the id of a token."""
    return _VOCABULARY[spelling]


def _tokenizer() -> Tokenizer:
    return Tokenizer(models.BPE(_VOCABULARY, _MERGES, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
