"""Wishes that refer to a thing that is already there: "now on a green background", "make it move left"."""

from __future__ import annotations

import numpy as np

from motet.training.nano.dialogues.phrases import (
    MORE_CLIPS,
    MORE_PICTURES,
    MORE_SOUNDS,
    MOTION_VERBS,
    MOTION_WORDS,
    OTHER_CLIPS,
    OTHER_PICTURES,
    OTHER_SOUNDS,
    bars,
    pick,
)
from motet.training.nano.world.world import (
    BACKGROUNDS,
    INSTRUMENTS,
    MOTIONS,
    MOVERS,
    NOUNS,
    REGISTERS,
    Thing,
    article,
    held_out,
)

_AGAIN = bars(
    "again|once more|the same again|repeat that|again please|one more time|show it again|do it again|copy this"
)
_DRAWN = bars(
    """draw it on {b} background|make a picture of it on {b} background|show a picture of it on {b} background
    draw this on {xb}|a picture of this on {b} background|paint it on {b} background|an image of it on {b} background"""
)
_PLAYED = bars(
    """play it, {r} note|let me hear it, {r} note|how does it sound, {r} note|play {r} note on it
    play this instrument, {r} note|what does it sound like? {r} note|let me hear {r} note on it"""
)
_INSTRUMENTS_DRAWN = bars(
    """draw the instrument on {b} background|show me this instrument on {b} background|draw it on {b} background
    paint what you hear on {b} background|a picture of this instrument on {b} background"""
)


def varied(thing: Thing, apart: bool, generator: np.random.Generator) -> tuple[str, Thing | str]:
    """How a variation of the thing is asked for, and what it is.

    `apart` says whether it shall be one of the held-out things. A modality stands for what cannot be made of it.
    """
    if generator.random() < 0.06 and held_out(thing) == apart:
        return pick(generator, _AGAIN), thing
    match thing.modality:
        case "image":
            return _of_picture(thing, apart, generator)
        case "audio":
            return _of_sound(thing, apart, generator)
        case _:
            return _of_clip(thing, apart, generator)


def _of_picture(thing: Thing, apart: bool, generator: np.random.Generator) -> tuple[str, Thing | str]:
    chance = generator.random()
    if thing.subject in INSTRUMENTS and chance < 0.5:
        sound = _some([Thing("audio", thing.subject, register) for register in REGISTERS], apart, generator)
        return pick(generator, _PLAYED).format(r=article(sound.manner)), sound
    if chance < 0.3:
        return _set_moving(thing, apart, generator)
    if chance < 0.75:
        wanted = _some(_others(thing, backgrounds=True), apart, generator)
        return _on(MORE_PICTURES, wanted, generator), wanted
    wanted = _some(_others(thing, backgrounds=False), apart, generator)
    return pick(generator, OTHER_PICTURES).format(n=article(wanted.subject)), wanted


def _of_sound(thing: Thing, apart: bool, generator: np.random.Generator) -> tuple[str, Thing | str]:
    chance = generator.random()
    if thing.subject in NOUNS and chance < 0.35:
        wanted = _some([Thing("image", thing.subject, colour) for colour in BACKGROUNDS], apart, generator)
        return _on(_INSTRUMENTS_DRAWN, wanted, generator), wanted
    registers = [Thing("audio", thing.subject, register) for register in REGISTERS if register != thing.manner]
    if chance < 0.65 and any(held_out(option) == apart for option in registers):
        wanted = _some(registers, apart, generator)
        said = pick(generator, MORE_SOUNDS).format(xr=wanted.manner, r=article(wanted.manner))
        return said, wanted
    instruments = [Thing("audio", name, thing.manner) for name in INSTRUMENTS if name != thing.subject]
    wanted = _some(instruments, apart, generator)
    return pick(generator, OTHER_SOUNDS).format(i=article(wanted.subject)), wanted


def _of_clip(thing: Thing, apart: bool, generator: np.random.Generator) -> tuple[str, Thing | str]:
    chance = generator.random()
    if chance < 0.6:
        return _set_moving(thing, apart, generator)
    if chance < 0.8:
        wanted = _some([Thing("image", thing.subject, colour) for colour in BACKGROUNDS], apart, generator)
        return _on(_DRAWN, wanted, generator), wanted
    movers = [Thing("video", name, thing.manner) for name in MOVERS if name != thing.subject]
    wanted = _some(movers, apart, generator)
    return pick(generator, OTHER_CLIPS).format(n=article(wanted.subject)), wanted


def _set_moving(thing: Thing, apart: bool, generator: np.random.Generator) -> tuple[str, Thing | str]:
    movers = thing.subject in MOVERS
    options = [Thing("video", thing.subject, motion) for motion in MOTIONS if motion != thing.manner]
    wanted = _some(options, apart, generator) if movers else options[int(generator.integers(len(options)))]
    verb, words = pick(generator, MOTION_VERBS[wanted.manner]), pick(generator, MOTION_WORDS[wanted.manner])
    return pick(generator, MORE_CLIPS).format(v=verb, m=words), wanted if movers else "video"


def _others(thing: Thing, backgrounds: bool) -> list[Thing]:
    if backgrounds:
        return [Thing("image", thing.subject, colour) for colour in BACKGROUNDS if colour != thing.manner]
    return [Thing("image", noun, thing.manner) for noun in NOUNS if noun != thing.subject]


def _on(wordings: tuple[str, ...], wanted: Thing, generator: np.random.Generator) -> str:
    return pick(generator, wordings).format(b=article(wanted.manner), xb=wanted.manner)


def _some(options: list[Thing], apart: bool, generator: np.random.Generator) -> Thing:
    """One option that is held out as asked; any where there is none, so that a test never lacks one."""
    fitting = [option for option in options if held_out(option) == apart] or (options if apart else [])
    return fitting[int(generator.integers(len(fitting)))]
