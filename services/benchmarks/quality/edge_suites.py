"""Suites about media that take other media, in phrases that no training has."""

from __future__ import annotations

import numpy as np

from motet.training.nano.world.world import (
    FILM,
    MOTIONS,
    MOVERS,
    Thing,
    held_out,
    things_of_split,
)
from services.benchmarks.quality.suite import SuiteCase

# {p} is a picture, {c} a clip, {s} a sound, {v} the verb of a motion, {m} its participle.
DRAWN_AND_ANIMATED = (
    "Draw {p}, and after that I would like to watch the thing {m}.",
    "I need {p} first. Once you have it, please get it to {v}.",
    "Could you sketch {p} for me and then make the sketch {v}?",
    "Start with {p}, then give us the drawing {m}.",
)
ATTACHED_AND_ANIMATED = (
    "Please get this to {v}.",
    "I wonder how this looks {m}. Animate it!",
    "Take my picture and make the object {v}.",
    "Could the thing in my picture {v}?",
)
LATER_ANIMATED = (
    "Great. Now I want to see that {m}.",
    "Could you get your drawing to {v}?",
    "Next: the same one, {m}.",
)
FILMS = (
    "Make {c}, play {s}, and then glue the two together.",
    "I want {c} and {s}, finally both as a single film.",
    "Give me {c}. Give me {s}. Then lay the music beneath the pictures.",
)
WHOLE_FILMS = (
    "Draw {p}, animate it {m}, play {s}, and put the sound under the clip.",
    "I would like {p}. Then make it {v}, add {s}, and unite the animation and the sound in a film.",
    "Sketch {p} and let it {v}. Play {s} as well, and finish with a film of the two.",
)
LATER_FILMS = ("Lovely. Please unite the two.", "Now glue them together.", "Great, and now one film from the two.")
NOTHING_TO_ANIMATE = (
    "Get the picture to spin.",
    "Please make my drawing rise.",
    "I would love to see the image growing.",
    "Animate the sketch, it should fall.",
)
NOTHING_TO_JOIN = ("Glue the clip and the sound together.", "Unite both in a film.", "Lay the music beneath the video.")

_VERBS = {
    "moving left": "move to the left",
    "moving right": "move to the right",
    "moving up": "rise",
    "moving down": "fall",
    "growing": "grow",
    "turning": "spin",
}


def edge_cases(rng: np.random.Generator) -> list[SuiteCase]:
    """Return cases about animations of every held-out picture, films, and requests with nothing to take."""
    pictures = things_of_split("image", True)
    cases = []
    for number, picture in enumerate(pictures):
        motion = _motion(picture.subject, rng)
        cases.append(_animation_case(number % 3, picture, motion, rng))
    for number in range(16):
        cases.append(_film_case(number % 4, pictures[int(rng.integers(len(pictures)))], rng))
    return cases + _refused_cases()


def _animation_case(form: int, picture: Thing, motion: str, rng: np.random.Generator) -> SuiteCase:
    animation = Thing("animation", picture.subject, motion)
    blanks = {"p": picture.caption, "m": motion, "v": _VERBS[motion]}
    figure = "plan with edges"
    if form == 0:
        text = _pick(DRAWN_AND_ANIMATED, rng).format(**blanks)
        return SuiteCase(figure, ((text,),), (picture, animation), ((), (0,)), picture=picture)
    if form == 1:
        attached = (picture, _pick(ATTACHED_AND_ANIMATED, rng).format(**blanks))
        return SuiteCase(figure, (attached,), (animation,), ((),), picture=picture)
    turns = ((f"Please draw {picture.caption}.",), (_pick(LATER_ANIMATED, rng).format(**blanks),))
    return SuiteCase(figure, turns, (animation,), ((),), picture=picture)


def _film_case(form: int, picture: Thing, rng: np.random.Generator) -> SuiteCase:
    clip, sound = (_any(things_of_split(name, True), rng) for name in ("video", "audio"))
    motion = _motion(picture.subject, rng)
    animation = Thing("animation", picture.subject, motion)
    blanks = {
        "p": picture.caption,
        "m": motion,
        "v": _VERBS[motion],
        "c": f"a clip of {clip.caption}",
        "s": sound.caption,
    }
    figure = "plan with edges"
    if form == 0:
        text = _pick(WHOLE_FILMS, rng).format(**blanks)
        edges = ((), (0,), (), (1, 2))
        return SuiteCase(figure, ((text,),), (picture, animation, sound, FILM), edges, picture=picture)
    if form == 1:
        text = _pick(FILMS, rng).format(**blanks)
        return SuiteCase(figure, ((text,),), (clip, sound, FILM), ((), (), (0, 1)))
    if form == 2:
        turns = ((f"Make a clip of {clip.caption} and play {sound.caption}.",), (_pick(LATER_FILMS, rng),))
        return SuiteCase(figure, turns, (FILM,), ((),))
    return SuiteCase(figure, ((clip, sound, _pick(LATER_FILMS, rng)),), (FILM,), ((),))


def _refused_cases() -> list[SuiteCase]:
    figure = "nothing to take refused"
    cases = [SuiteCase(figure, ((text,),), words=("picture",)) for text in NOTHING_TO_ANIMATE]
    cases += [SuiteCase(figure, (("Hello!",), (text,)), words=("picture",)) for text in NOTHING_TO_ANIMATE]
    cases += [SuiteCase(figure, ((text,),), words=("sound",)) for text in NOTHING_TO_JOIN]
    sound = Thing("audio", "violin", "middle")
    return cases + [SuiteCase(figure, ((sound, text),), words=("clip",)) for text in NOTHING_TO_JOIN]


def _motion(noun: str, rng: np.random.Generator) -> str:
    """Return the held-out motion of a noun, or any motion of a noun without one."""
    motions = (
        [motion for motion in MOTIONS if held_out(Thing("animation", noun, motion))] if noun in MOVERS else MOTIONS
    )
    return motions[int(rng.integers(len(motions)))]


def _pick(templates: tuple[str, ...], rng: np.random.Generator) -> str:
    return templates[int(rng.integers(len(templates)))]


def _any(options: list[Thing], rng: np.random.Generator) -> Thing:
    return options[int(rng.integers(len(options)))]
