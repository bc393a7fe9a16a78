"""The frozen caption encoder: the teacher of the decoders and of the output projections.

It stands where CLIP and CLAP stand in NExT-GPT: the decoders learn to sing what it writes, and the output
projections of the language model learn to write the same. It is never trained: every word's vector is drawn
from a generator seeded by the word itself, so there is nothing to store, and a new word changes no old one.
"""

from __future__ import annotations

import hashlib
from functools import cache

import torch
from torch import Tensor

ROWS = 8
WIDTH = 128

# Words that every sound caption shares. Left in the sum they would make all sounds nearly the same direction.
_SHARED = frozenset({"a", "an", "on", "note"})


def encode(modality: str, captions: list[str]) -> Tensor:
    """The conditioning of each caption, float32, as a decoder of the nano bundle takes it.

    `image` and `video`: (n, 8, 128), one row per word, padded, each row of mean 0 and variance 1, as after a
    LayerNorm. `audio`: (n, 1, 128), unit L2 norm, as CLAP's. The empty caption is the unconditional one.
    Raises ValueError for a caption of more than eight words.
    """
    one = _sentence if modality == "audio" else _rows
    return torch.stack([one(caption) for caption in captions])


def _rows(caption: str) -> Tensor:
    words = caption.lower().split()
    if len(words) > ROWS:
        raise ValueError(f"a caption has at most {ROWS} words, not {len(words)}: shorten {caption!r}")
    words += ["<pad>"] * (ROWS - len(words))
    # Half the words' strength: enough to tell "an orange on blue" from "a fish on orange", not to hide a word.
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
