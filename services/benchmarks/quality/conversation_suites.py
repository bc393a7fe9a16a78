"""Suites about conversations and unusual prompts, in phrases that no training has."""

from __future__ import annotations

import numpy as np

from motet.training.nano.world.world import MODALITIES, Thing, things, things_of_split, with_article
from services.benchmarks.quality.suite import SuiteCase

# Questions about a medium of an earlier turn.
EARLIER_QUESTIONS = {
    "image": (
        "So what exactly did my picture have in it?",
        "Please recall my picture and describe it.",
        "My picture, what was on it?",
    ),
    "audio": (
        "So what exactly was on my recording?",
        "Please recall my recording and describe it.",
        "My recording, what was on it?",
    ),
    "video": (
        "So what exactly went on in my video?",
        "Please recall my clip and describe it.",
        "My clip, what happened in it?",
    ),
}
FILLERS = (
    "That is really neat.",
    "Hi again!",
    "Fine, thanks a bunch.",
    "Remind me who you are?",
    "How are you doing these days?",
    "Good. Paint {p}, would you?",
    "And what are you capable of?",
)
OWN_WORK = {
    "any": ("Sorry, what was that just now?", "Which thing did you make there?", "Can you say what that was?"),
    "image": ("What exactly did you draw there?", "Say what your picture shows."),
    "audio": ("What exactly did you play there?", "Say what your sound was."),
    "video": ("What exactly did you film there?", "Say what your clip shows."),
}
# {r} is a request, {w} a word for a modality that is not wanted, {o} another thing.
NEGATIONS = (
    "{r}, but absolutely no {w}.",
    "{r}. I want no {w} with it.",
    "Without any {w} at all: {r}.",
    "{r}, and whatever you do, do not show {o}.",
    "You need not bother with {o}, {r}.",
)
NOTHING_WANTED = (
    "Please don't draw {o} today.",
    "Do not show {o} now.",
    "Don't play {o}, I am tired.",
    "No more {w} for me.",
)
LISTS = ("I would love to have {l}.", "Could you prepare the following for me: {l}?", "Here is my wish list: {l}.")
# Subjects outside the world. No training has them.
OUTSIDE = {
    "image": (
        "green apple",
        "blue banana",
        "black car",
        "yellow heart",
        "grey rocket",
        "purple cat",
        "hedgehog",
        "escalator",
        "teapot",
        "flamingo",
        "wardrobe",
        "zebra",
    ),
    "audio": ("didgeridoo", "theremin", "tin whistle", "kazoo", "electric bass", "ocarina"),
    "video": ("pizza", "hedgehog", "green apple", "blue balloon", "teapot", "zebra"),
}
_OUTSIDE_REQUESTS = {
    "image": ("Please draw {n} for me.", "Could I see {n} on a blue background?"),
    "audio": ("Please play {n} for me.", "Could I hear a low note on {n}?"),
    "video": ("Please make a clip of {n} for me.", "Could you make a video of {n} growing?"),
}
CHECKS = ("Is it {g}?", "Would you call this {g}?", "Tell me, is this {g}?")
_REQUESTS = {"image": "draw {}", "audio": "play {}", "video": "make a clip of {}"}
_WORDS = {"image": "pictures", "audio": "sound", "video": "video"}


def conversation_cases(rng: np.random.Generator) -> list[SuiteCase]:
    """Return the cases of all these suites."""
    suites = (_earlier_media, _own_work, _negations, _five_things, _outside, _yes_or_no)
    return [case for suite in suites for case in suite(rng)]


def _earlier_media(rng: np.random.Generator) -> list[SuiteCase]:
    """Return questions about a medium after one to six other turns."""
    cases = []
    for distance in range(1, 7):
        for number in range(9):
            modality = MODALITIES[number % 3]
            thing = _unseen(modality, rng)
            first = (
                "Here you go."
                if number % 2
                else _pick(("Have a listen." if modality == "audio" else "Look here.",), rng)
            )
            drawn = _unseen("image", rng).caption
            fillers = tuple((_pick(FILLERS, rng).format(p=drawn),) for _ in range(distance))
            question = _pick(EARLIER_QUESTIONS[modality], rng)
            turns = ((thing, first), *fillers, (question,))
            cases.append(SuiteCase("earlier media", turns, words=(thing.subject, thing.manner)))
    return cases


def _own_work(rng: np.random.Generator) -> list[SuiteCase]:
    cases = []
    for number in range(24):
        modality = MODALITIES[number % 3]
        thing = _unseen(modality, rng)
        turns: tuple[tuple[str | Thing, ...], ...] = ((f"Please {_request(thing)}.",),)
        if number % 4 == 3:
            turns += (("Wonderful!",),)
        question = _pick(OWN_WORK["any" if number % 2 else modality], rng)
        cases.append(SuiteCase("own work", (*turns, (question,)), words=(thing.subject, thing.manner)))
    return cases


def _negations(rng: np.random.Generator) -> list[SuiteCase]:
    cases = []
    for number in range(24):
        modality = MODALITIES[number % 3]
        thing, other = _unseen(modality, rng), _unseen(MODALITIES[(number + 1) % 3], rng)
        blanks = {"o": other.caption, "w": _WORDS[other.modality], "r": _request(thing)}
        if number % 6 == 5:
            template = NOTHING_WANTED[number // 6 % len(NOTHING_WANTED)]
            cases.append(SuiteCase("negation", ((template.format(**blanks),),)))
        else:
            text = NEGATIONS[number % len(NEGATIONS)].format(**blanks)
            cases.append(SuiteCase("negation", ((text[0].upper() + text[1:],),), (thing,)))
    return cases


def _five_things(rng: np.random.Generator) -> list[SuiteCase]:
    cases = []
    for number in range(12):
        wanted = tuple(_unseen(str(rng.choice(MODALITIES)), rng) for _ in range(5))
        named = [f"a clip of {thing.caption}" if thing.modality == "video" else thing.caption for thing in wanted]
        text = LISTS[number % len(LISTS)].format(l=f"{', '.join(named[:-1])} and {named[-1]}")
        cases.append(SuiteCase("five things", ((text,),), wanted))
    return cases


def _outside(rng: np.random.Generator) -> list[SuiteCase]:
    return [
        SuiteCase(
            "outside the world refused", ((_pick(_OUTSIDE_REQUESTS[modality], rng).format(n=with_article(name)),),)
        )
        for modality, names in OUTSIDE.items()
        for name in names
    ]


def _yes_or_no(rng: np.random.Generator) -> list[SuiteCase]:
    cases = []
    for number in range(30):
        thing = _unseen(MODALITIES[number % 3], rng)
        others = [other.subject for other in things(thing.modality) if other.subject != thing.subject]
        same = number % 2 == 0
        guess = thing.subject if same else str(rng.choice(others))
        words, other_words = (("Yes",), ("No,",)) if same else (("No",), ("Yes",))
        question = _pick(CHECKS, rng).format(g=with_article(guess))
        cases.append(SuiteCase("yes or no", ((thing, question),), words=words, other_words=other_words))
    return cases


def _request(thing: Thing) -> str:
    return _REQUESTS[thing.modality].format(thing.caption)


def _unseen(modality: str, rng: np.random.Generator) -> Thing:
    options = things_of_split(modality, True)
    return options[int(rng.integers(len(options)))]


def _pick(templates: tuple[str, ...], rng: np.random.Generator) -> str:
    return templates[int(rng.integers(len(templates)))]
