"""Requests that refer to an existing thing: "now on a green background", "make it move left"."""

from __future__ import annotations

import numpy as np

from motet.training.nano.dialogues.kinds.edge_phrases import ANIMATION_REQUESTS
from motet.training.nano.dialogues.phrases import (
    BACKGROUND_CHANGES,
    INSTRUMENT_CHANGES,
    MOTION_CHANGES,
    MOTION_VERBS,
    MOTION_WORDS,
    MOVER_CHANGES,
    NOUN_CHANGES,
    REGISTER_CHANGES,
    pick,
    split_phrases,
)
from motet.training.nano.world.world import (
    BACKGROUNDS,
    INSTRUMENTS,
    MOTIONS,
    MOVERS,
    NOUNS,
    REGISTERS,
    Thing,
    held_out,
    with_article,
)

_REPETITIONS = split_phrases(
    "again|once more|the same again|repeat that|again please|one more time|show it again|do it again|copy this"
)
_PICTURES_OF_MOVER = split_phrases(
    """draw it on {b} background|make a picture of it on {b} background|show a picture of it on {b} background
    draw this on {xb}|a picture of this on {b} background|paint it on {b} background|an image of it on {b} background"""
)
_SOUNDS_OF_INSTRUMENT = split_phrases(
    """play it, {r} note|let me hear it, {r} note|how does it sound, {r} note|play {r} note on it
    play this instrument, {r} note|what does it sound like? {r} note|let me hear {r} note on it"""
)
_PICTURES_OF_INSTRUMENT = split_phrases(
    """draw the instrument on {b} background|show me this instrument on {b} background|draw it on {b} background
    paint what you hear on {b} background|a picture of this instrument on {b} background"""
)


def follow_up(thing: Thing, test_split: bool, rng: np.random.Generator) -> tuple[str, Thing | str]:
    """Return a request for a variation of the thing, and the requested thing.

    The requested thing is held out if `test_split`. If it does not exist, the function returns its modality instead.
    """
    if rng.random() < 0.06 and held_out(thing) == test_split:
        return pick(rng, _REPETITIONS), thing
    match thing.modality:
        case "image":
            return _after_picture(thing, test_split, rng)
        case "audio":
            return _after_sound(thing, test_split, rng)
        case "animation":
            return animation_request(thing.subject, thing.manner, rng, test_split)
        case _:
            return _after_clip(thing, test_split, rng)


def _after_picture(thing: Thing, test_split: bool, rng: np.random.Generator) -> tuple[str, Thing | str]:
    chance = rng.random()
    if thing.subject in INSTRUMENTS and chance < 0.5:
        sound = _choose([Thing("audio", thing.subject, register) for register in REGISTERS], test_split, rng)
        return pick(rng, _SOUNDS_OF_INSTRUMENT).format(r=with_article(sound.manner)), sound
    if chance < 0.3:
        return animation_request(thing.subject, "", rng, test_split)
    if chance < 0.75:
        backgrounds = [Thing("image", thing.subject, colour) for colour in BACKGROUNDS if colour != thing.manner]
        requested = _choose(backgrounds, test_split, rng)
        return _background_request(BACKGROUND_CHANGES, requested, rng), requested
    nouns = [Thing("image", noun, thing.manner) for noun in NOUNS if noun != thing.subject]
    requested = _choose(nouns, test_split, rng)
    return pick(rng, NOUN_CHANGES).format(n=with_article(requested.subject)), requested


def _after_sound(thing: Thing, test_split: bool, rng: np.random.Generator) -> tuple[str, Thing | str]:
    chance = rng.random()
    if thing.subject in NOUNS and chance < 0.35:
        requested = _choose([Thing("image", thing.subject, colour) for colour in BACKGROUNDS], test_split, rng)
        return _background_request(_PICTURES_OF_INSTRUMENT, requested, rng), requested
    registers = [Thing("audio", thing.subject, register) for register in REGISTERS if register != thing.manner]
    if chance < 0.65 and any(held_out(option) == test_split for option in registers):
        requested = _choose(registers, test_split, rng)
        text = pick(rng, REGISTER_CHANGES).format(xr=requested.manner, r=with_article(requested.manner))
        return text, requested
    instruments = [Thing("audio", name, thing.manner) for name in INSTRUMENTS if name != thing.subject]
    requested = _choose(instruments, test_split, rng)
    return pick(rng, INSTRUMENT_CHANGES).format(i=with_article(requested.subject)), requested


def _after_clip(thing: Thing, test_split: bool, rng: np.random.Generator) -> tuple[str, Thing | str]:
    chance = rng.random()
    if chance < 0.6:
        return _motion_request(thing, test_split, rng)
    if chance < 0.8:
        requested = _choose([Thing("image", thing.subject, colour) for colour in BACKGROUNDS], test_split, rng)
        return _background_request(_PICTURES_OF_MOVER, requested, rng), requested
    movers = [Thing("video", name, thing.manner) for name in MOVERS if name != thing.subject]
    requested = _choose(movers, test_split, rng)
    return pick(rng, MOVER_CHANGES).format(n=with_article(requested.subject)), requested


def _motion_request(thing: Thing, test_split: bool, rng: np.random.Generator) -> tuple[str, Thing | str]:
    is_mover = thing.subject in MOVERS
    options = [Thing("video", thing.subject, motion) for motion in MOTIONS if motion != thing.manner]
    requested = _choose(options, test_split, rng) if is_mover else options[int(rng.integers(len(options)))]
    verb, motion = pick(rng, MOTION_VERBS[requested.manner]), pick(rng, MOTION_WORDS[requested.manner])
    return pick(rng, MOTION_CHANGES).format(v=verb, m=motion), requested if is_mover else "video"


def animation_request(
    noun: str, last_motion: str, rng: np.random.Generator, test_split: bool = False, explicit: bool = False
) -> tuple[str, Thing]:
    """Return a request to animate a picture of the noun in another motion than the last one, and the animation.

    An `explicit` request names the picture.
    """
    options = [Thing("animation", noun, motion) for motion in MOTIONS if motion != last_motion]
    requested = _choose(options, test_split, rng)
    verb, motion = pick(rng, MOTION_VERBS[requested.manner]), pick(rng, MOTION_WORDS[requested.manner])
    named = noun if rng.random() < 0.3 else pick(rng, ("picture", "image", "drawing"))
    template = pick(rng, [each for each in ANIMATION_REQUESTS if "{x}" in each or not explicit])
    return template.format(v=verb, m=motion, x=named), requested


def _background_request(templates: tuple[str, ...], requested: Thing, rng: np.random.Generator) -> str:
    return pick(rng, templates).format(b=with_article(requested.manner), xb=requested.manner)


def _choose(options: list[Thing], test_split: bool, rng: np.random.Generator) -> Thing:
    """Return an option of the split. If the test split has none, return any option."""
    in_split = [option for option in options if held_out(option) == test_split] or (options if test_split else [])
    return in_split[int(rng.integers(len(in_split)))]
