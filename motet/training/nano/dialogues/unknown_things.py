"""Subjects outside the nano world. The answer to a request for one of them is a refusal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from motet.training.nano.dialogues.phrases import pick, split_phrases
from motet.training.nano.dialogues.refusals import UNKNOWN_SUBJECTS
from motet.training.nano.world.world import INSTRUMENTS, MOVERS, NOUNS

# The colours in which a subject is not outside the world: its own ones. The refused subjects have another colour.
_OWN_COLOURS: Mapping[str, str] = {
    "red apple": "red",
    "banana": "yellow",
    "orange": "orange",
    "strawberry": "red",
    "pear": "green yellow",
    "pineapple": "yellow brown",
    "penguin": "black white",
    "cat": "yellow orange",
    "dog": "brown orange white",
    "fish": "yellow blue orange",
    "octopus": "red orange pink purple",
    "butterfly": "blue orange",
    "bee": "yellow black",
    "turtle": "green",
    "whale": "blue",
    "tree": "green",
    "cactus": "green",
    "sunflower": "yellow",
    "star": "yellow golden",
    "snowman": "white",
    "car": "red",
    "rocket": "white grey red",
    "balloon": "red",
    "heart": "red",
    "key": "golden yellow grey",
    "football": "white black",
    "crown": "golden yellow",
    "pumpkin": "orange",
}
_COLOURS = split_phrases("red|orange|yellow|green|blue|purple|pink|white|black|brown|grey|golden|silver|violet")
_COMPOUNDS = split_phrases(
    """{n} pie|{n} cake|{n} juice|{n} soup|toy {n}|{n} house|{n} shop|{n} hat|{n} box|wooden {n}|broken {n}
    {n} man|robot {n}|giant {n} statue|{n} costume|{n} salad|half a {n}|baby {n} with a hat|dancing {n}"""
)
_INSTRUMENT_COMPOUNDS = split_phrases(
    """electronic {n}|toy {n}|bass {n}|steel {n}|glass {n}|double {n}|nose {n}|steam {n}|water {n}|hand {n}|mouth {n}
    broken {n}|paper {n}|tiny {n}|giant {n}|robot {n}|{n} player|{n} orchestra|{n} solo"""
)
# The parts of the syllables of new words.
_ONSETS = split_phrases(
    """b|bl|br|c|ch|cl|cr|d|dr|f|fl|fr|g|gl|gr|h|h|j|k|kl|l|m|n|p|ph|pl|pr|qu|r|s|sc|sh|sk|sl|sm|sn|sp|squ|st|str|sw|t|th
    tr|tw|v|w|wh|y|z"""
)
_VOWELS = split_phrases("a|e|i|o|u|a|e|i|o|u|a|e|i|o|u|ai|ea|ee|ie|oa|oo|ou|y|er|ar|or|ur")
_CODAS = split_phrases("b|ck|d|dge|g|l|ll|m|n|n|nd|ng|nt|p|r|rd|rn|rt|s|sh|st|t|tt|x|ne|te|le|phone|ina")


def unknown_subject(modality: str, rng: np.random.Generator) -> str:
    """Return a subject outside the world: a listed one, a known one in another colour or compound, or a new word.

    New words teach the model that every word it does not know is outside the world.
    """
    chance = rng.random()
    known = {"image": tuple(NOUNS), "audio": tuple(INSTRUMENTS)}.get(modality, MOVERS)
    if chance < (0.5 if modality == "audio" else 0.35):
        return new_word(rng)
    if chance < 0.6 and modality != "audio":
        noun = pick(rng, known)
        own = _OWN_COLOURS.get(noun, "").split()
        colour = pick(rng, [name for name in _COLOURS if name not in own])
        return f"{colour} {noun.removeprefix('red ')}"
    if chance < (0.7 if modality == "audio" else 0.67):
        return pick(rng, _INSTRUMENT_COMPOUNDS if modality == "audio" else _COMPOUNDS).format(n=pick(rng, known))
    return pick(rng, UNKNOWN_SUBJECTS[modality])


def new_word(rng: np.random.Generator) -> str:
    """Return a word of two or three random syllables, in letters that an English word could have."""
    word = pick(rng, _VOWELS)[:1] if rng.random() < 0.15 else ""
    for _ in range(int(rng.choice([2, 3], p=[0.75, 0.25]))):
        coda = pick(rng, _CODAS) if rng.random() < 0.35 else ""
        word += pick(rng, _ONSETS) + pick(rng, _VOWELS) + coda
    return word
