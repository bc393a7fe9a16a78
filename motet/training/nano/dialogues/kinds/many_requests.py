"""Prompts that request many media, or the same thing several times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from motet.training.nano.dialogues.dialogue import Dialogue, exchange
from motet.training.nano.dialogues.generator import DialogueGenerator
from motet.training.nano.dialogues.phrases import REQUESTS, phrase, pick
from motet.training.nano.dialogues.requests import MediaRequest, answers, combined_prompt, complete_request
from motet.training.nano.dialogues.sentences import with_courtesy
from motet.training.nano.dialogues.typing_noise import with_typing_noise
from motet.training.nano.world.world import MODALITIES, Thing

_COUNTS = {2: ("two", "two", "2", "a pair of"), 3: ("three", "3")}
_COPIES = {"image": ("pictures", "images", "drawings"), "audio": ("sounds", "recordings"), "video": ("clips", "videos")}
_IRREGULAR = {"fish": "fish", "strawberry": "strawberries", "butterfly": "butterflies", "cactus": "cactuses"}


def many_requests(generator: DialogueGenerator, rng: np.random.Generator) -> Dialogue:
    """Return a prompt for five or six media, for two to five of one modality, or for one thing several times."""
    chance = rng.random()
    if chance < 0.15:
        return _repeated(generator.thing(rng), rng)
    if chance < 0.3:
        modality, count = pick(rng, MODALITIES), int(rng.integers(2, 6))
        requests = [complete_request(generator.thing(rng, modality), rng) for _ in range(count)]
    else:
        requests = [generator.request(rng, complete=True) for _ in range(int(rng.choice([5, 6], p=[0.7, 0.3])))]
    return exchange((with_typing_noise(combined_prompt(requests, rng, entries=0.55), rng),), answers(requests))


def _repeated(thing: Thing, rng: np.random.Generator) -> Dialogue:
    """Return a request for two or three media of one thing: "two penguins on blue", "a low flute, twice"."""
    count = int(rng.choice([2, 3], p=[0.75, 0.25]))
    number = pick(rng, _COUNTS[count])
    once = complete_request(thing, rng)
    form = rng.random()
    if form < 0.4:
        copies = f"{number} {pick(rng, _COPIES[thing.modality])} of {phrase(thing, rng)}"
        sentence = pick(rng, ("show me {c}", "make {c}", "I want {c}", "give me {c}", "create {c}", "{c}")).format(
            c=copies
        )
    elif form < 0.7 and thing.modality == "image":
        plural = Thing("image", _plural(thing.subject), thing.manner).caption.partition(" ")[2]
        sentence = pick(rng, ("draw {c}", "show me {c}", "paint {c}", "I want {c}", "{c}")).format(
            c=f"{number} {plural}"
        )
    else:
        often = "twice" if count == 2 else "three times"
        sentence = f"{pick(rng, REQUESTS[thing.modality]).format(p=phrase(thing, rng))}, {often}"
    requests: list[MediaRequest] = [replace(once, sentence=sentence)] * count
    return exchange((with_typing_noise(with_courtesy(sentence, rng), rng),), answers(requests))


def _plural(noun: str) -> str:
    return _IRREGULAR.get(noun, f"{noun}s")
