"""Typing noise: letter case and typing errors of users."""

from __future__ import annotations

import numpy as np

from motet.training.nano.dialogues.phrases import pick


def with_typing_noise(text: str, rng: np.random.Generator) -> str:
    """Return the text, sometimes in one letter case, sometimes with one typing error."""
    chance = rng.random()
    if chance < 0.25:
        text = text.lower()
    elif chance < 0.27:
        text = text.upper()
    words = text.split(" ")
    long_words = [i for i, word in enumerate(words) if len(word) > 4]
    if long_words and rng.random() < 0.06:
        index = int(rng.choice(long_words))
        words[index] = _mistyped(words[index], rng)
        text = " ".join(words)
    return text


def _mistyped(word: str, rng: np.random.Generator) -> str:
    """Return the word with one letter dropped, doubled or swapped with the letter before it."""
    at = int(rng.integers(1, len(word) - 1))
    return pick(
        rng,
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
        ),
    )
