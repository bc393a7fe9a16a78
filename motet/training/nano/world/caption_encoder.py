"""The frozen caption encoder: it makes the targets of the decoders and of the output projections.

The caption encoder replaces CLIP and CLAP of NExT-GPT. The decoders are conditioned on its output, and the output
projections of the language model learn to predict the same output. It is never trained: the word itself seeds the
generator of the word's vector. So there are no weights to store, and a new word changes no other vector.
"""

from __future__ import annotations

import hashlib
from functools import cache

import torch
from torch import Tensor

ROWS = 8
WIDTH = 128

# Words of every sound caption. If the sum included them, the vectors of all sounds would be nearly parallel.
_SHARED = frozenset({"a", "an", "on", "note"})


def encode(modality: str, captions: list[str]) -> Tensor:
    """Return the conditioning of each caption for a decoder of the nano bundle, float32.

    `image` and `video`: (n, 8, 128), one row per word, padded, each row with mean 0 and variance 1, as after a
    LayerNorm. `audio`: (n, 1, 128), unit L2 norm, as in CLAP. The empty caption gives the unconditional embedding.
    Raise ValueError for a caption of more than eight words.
    """
    encode_one = _sentence if modality == "audio" else _rows
    return torch.stack([encode_one(caption) for caption in captions])


def _rows(caption: str) -> Tensor:
    words = caption.lower().split()
    if len(words) > ROWS:
        raise ValueError(f"a caption has at most {ROWS} words, not {len(words)}: shorten {caption!r}")
    words += ["<pad>"] * (ROWS - len(words))
    # Position vectors have half the length of word vectors: enough to distinguish "an orange on blue" from "a fish on
    # orange", and too little to hide a word.
    rows = torch.stack([_vector(word) + 0.5 * _vector(f"<place {i}>") for i, word in enumerate(words)])
    return torch.nn.functional.layer_norm(rows, (WIDTH,))


def _sentence(caption: str) -> Tensor:
    words = [word for word in caption.lower().split() if word not in _SHARED] or ["<empty>"]
    total = torch.stack([_vector(word) for word in words]).sum(dim=0, keepdim=True)
    return torch.nn.functional.normalize(total, dim=-1)


@cache
def _vector(word: str) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:7], "big")
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))
