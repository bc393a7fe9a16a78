"""Evaluation cases: prompts about attribute combinations that no part of the nano bundle was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from motet.core.media import Media
from motet.media.encode import encode_clip, encode_picture, encode_sound
from motet.training.nano.world import clips, pictures, sounds
from motet.training.nano.world.world import MODALITIES, REGISTERS, Thing, held_out, things

_REQUESTS = {
    "image": ("a picture of {}", "an image of {}", "{}"),
    "audio": ("the sound of {}", "{}", "a recording of {}"),
    "video": ("a video of {}", "a clip of {}", "a short film of {}"),
}
_OPENINGS = ("Show me {}.", "Could you make {}, please?", "I would love {}", "Please create {}.", "Give me {}!")
_QUESTIONS = {
    "image": ("What can you see in this picture?", "Describe this image.", "What is this?"),
    "audio": ("What do you hear?", "Describe this sound.", "Which instrument is this, and how high does it play?"),
    "video": ("What happens in this video?", "Describe this clip.", "What is going on here?"),
}


@dataclass(frozen=True, slots=True)
class EvaluationCase:
    """One prompt. `expected` are the things to generate. `attached` is the thing to describe, or None."""

    text: str
    expected: tuple[Thing, ...] = ()
    attached: Thing | None = None


def generation_cases(rng: np.random.Generator) -> list[EvaluationCase]:
    """Return one case of each held-out thing, then mixes of two and three things in any order: over 120 cases."""
    unseen = {name: [thing for thing in things(name) if held_out(thing)] for name in MODALITIES}
    single = [EvaluationCase(_request([thing], rng), (thing,)) for name in MODALITIES for thing in unseen[name]]
    mixes = []
    for count in [2] * 40 + [3] * 25:
        modalities = rng.permutation(MODALITIES)[:count]
        expected = [unseen[str(modality)][rng.integers(len(unseen[str(modality)]))] for modality in modalities]
        mixes.append(EvaluationCase(_request(expected, rng), tuple(expected)))
    return single + mixes


def understanding_cases(rng: np.random.Generator) -> list[EvaluationCase]:
    """Return cases that attach each held-out thing: pictures once, clips twice, sounds five times."""
    repeats = {"image": 1, "audio": 5, "video": 2}
    return [
        EvaluationCase(str(rng.choice(_QUESTIONS[thing.modality])), attached=thing)
        for name in MODALITIES
        for thing in things(name)
        if held_out(thing)
        for _ in range(repeats[name])
    ]


def _request(expected: Sequence[Thing], rng: np.random.Generator) -> str:
    phrases = [str(rng.choice(_REQUESTS[thing.modality])).format(thing.caption) for thing in expected]
    listed = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    return str(rng.choice(_OPENINGS)).format(listed)


def attachment(thing: Thing, rng: np.random.Generator) -> Media:
    """Return a thing as a media file, with a random position, scale or note."""
    offset = (float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5)))
    match thing.modality:
        case "image":
            scale = rng.uniform(0.9, 1.1)
            return encode_picture(pictures.draw(thing.subject, thing.manner, scale=scale, offset=offset))
        case "audio":
            note = int(rng.choice(REGISTERS[thing.manner]))
            return encode_sound(_notes()[thing.subject, thing.manner, note], sounds.RATE)
        case _:
            return encode_clip(clips.draw(thing.subject, thing.manner, offset=offset), clips.FRAMES_PER_SECOND)


@cache
def _notes() -> dict[tuple[str, str, int], sounds.Sound]:
    # One file of tens of megabytes holds all notes, so it is read once.
    return sounds.load()
