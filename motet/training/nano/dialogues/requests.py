"""One thing that somebody asks for: how it is said, and how it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motet.training.nano.dialogues.phrases import (
    AFTER,
    BEFORE,
    COMMANDS,
    JOINTS,
    LISTS,
    MARKED,
    MOTION_VERBS,
    REQUESTS,
    SENTENCES,
    phrase,
    pick,
    subject_phrase,
)
from motet.training.nano.dialogues.small_talk import (
    CHOSEN,
    DEFAULTED,
    NO_BACKGROUND,
    OPEN_REQUESTS,
    REFUSALS,
    UNKNOWN,
    UNKNOWN_BACKGROUNDS,
)
from motet.training.nano.world.world import Thing, article, held_out


@dataclass(frozen=True, slots=True)
class Given:
    """Words of an answer that are put into the model's mouth: it reads them, and need not learn to say them."""

    text: str


@dataclass(frozen=True, slots=True)
class Sparing:
    """Words of an answer that are learned, while it does not count as wrong to say one of `spared` instead."""

    text: str
    spared: tuple[str, ...]


# A part of a turn is text or a thing: media that were attached, or that are asked for by a signal run.
Part = str | Given | Sparing | Thing


def worded(part: Part) -> str:
    """A part in words only: a thing's caption stands for it."""
    match part:
        case str():
            return part
        case Given() | Sparing():
            return part.text
        case Thing():
            return part.caption


# What the model chooses where nothing was said; the second where nobody may have practised the first.
_DEFAULTS = {"image": ("white", "blue"), "audio": ("middle", "low"), "video": ("moving right", "moving left")}
_FAVOURITES = {
    "image": Thing("image", "sunflower", "blue"),
    "audio": Thing("audio", "flute", "middle"),
    "video": Thing("video", "rocket", "moving up"),
}
_FIRST = {"image": "Here is {c}.", "audio": "This is {c}.", "video": "Here you see {c}."}
# Words that say which modality is meant where the phrase alone does not.
_TELLING = {
    "audio": ("play", "hear", "listen", "sound", "record", "audio", "perform"),
    "video": ("video", "clip", "animat", "film", "movie", "watch"),
}


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """What is asked for, as a sentence of its own and as an entry of a list, and the sentence that answers.

    `thing` is None where the answer is a refusal.
    """

    request: str
    entry: str
    reply: str
    thing: Thing | None

    def answer(self, first: bool) -> tuple[Part, ...]:
        """The reply and its media; a later one goes on where the one before it ended."""
        text = self.reply if first else f" {joined(self.reply)}"
        return (text,) if self.thing is None else (text, self.thing)


def joined(sentence: str) -> str:
    """A sentence as the continuation of an answer: "And here is ...". One that says "I" stays as it is."""
    return sentence if sentence.startswith(("I ", "You ")) else f"And {sentence[0].lower()}{sentence[1:]}"


def here_is(thing: Thing) -> str:
    """The sentence that presents a thing."""
    return _FIRST[thing.modality].format(c=thing.caption)


def named(thing: Thing, generator: np.random.Generator) -> MediaRequest:
    """A wish for a thing, with both of its attributes."""
    said = phrase(thing, generator)
    request = pick(generator, REQUESTS[thing.modality]).format(p=said)
    if thing.modality == "video" and generator.random() < 0.2:
        verb = pick(generator, MOTION_VERBS[thing.manner])
        request = pick(generator, COMMANDS).format(n=article(thing.subject), v=verb)
    entry = pick(generator, MARKED[thing.modality]).format(p=said)
    return MediaRequest(request, entry, here_is(thing), thing)


def unfinished(thing: Thing, generator: np.random.Generator) -> MediaRequest:
    """A wish that names the subject only; the answer chooses the rest and says so."""
    thing = with_default(thing)
    said = subject_phrase(thing, generator)
    request = _telling(REQUESTS[thing.modality], thing.modality, generator).format(p=said)
    entry = _telling(MARKED[thing.modality], thing.modality, generator).format(p=said)
    return MediaRequest(request, entry, DEFAULTED[thing.modality].format(c=thing.caption), thing)


def with_default(thing: Thing) -> Thing:
    """The thing's subject in the manner the model chooses itself."""
    options = (Thing(thing.modality, thing.subject, manner) for manner in _DEFAULTS[thing.modality])
    return next(option for option in options if not held_out(option))


def open_wish(modality: str, generator: np.random.Generator) -> MediaRequest:
    """A wish for anything of a modality."""
    thing = _FAVOURITES[modality]
    said = pick(generator, OPEN_REQUESTS[modality])
    entry = {"image": "any picture", "audio": "any sound", "video": "any video"}[modality]
    return MediaRequest(said, entry, CHOSEN[modality].format(c=thing.caption), thing)


def unknown(thing: Thing, generator: np.random.Generator) -> MediaRequest:
    """A wish for what the world does not have, in the manner of a thing."""
    stranger = Thing(thing.modality, pick(generator, UNKNOWN[thing.modality]), thing.manner)
    telling = generator.random() < 0.5
    said = subject_phrase(stranger, generator) if telling else phrase(stranger, generator)
    request = _telling(REQUESTS[thing.modality], thing.modality, generator).format(p=said)
    entry = _telling(MARKED[thing.modality], thing.modality, generator).format(p=said)
    return MediaRequest(request, entry, REFUSALS[thing.modality], None)


def strange_background(thing: Thing, generator: np.random.Generator) -> MediaRequest:
    """A wish for a picture on a background that the world does not have."""
    chosen = with_default(thing)
    said = phrase(Thing("image", thing.subject, pick(generator, UNKNOWN_BACKGROUNDS)), generator)
    request = pick(generator, REQUESTS["image"]).format(p=said)
    entry = pick(generator, MARKED["image"]).format(p=said)
    return MediaRequest(request, entry, NO_BACKGROUND.format(c=chosen.caption), chosen)


def said_together(wishes: Sequence[MediaRequest], generator: np.random.Generator) -> str:
    """One prompt that asks for all wishes, in their order."""
    if len(wishes) == 1:
        return polite(wishes[0].request, generator)
    manner = generator.choice(["sentences", "clauses", "entries", "lines"], p=[0.3, 0.3, 0.32, 0.08])
    if manner == "entries":
        return polite(pick(generator, LISTS).format(l=_listed([wish.entry for wish in wishes], generator)), generator)
    if manner == "lines":
        marks = pick(generator, ("{i}. ", "- ", "{i}) ", "* ", ""))
        lines = [marks.format(i=i) + finished(wish.request, generator) for i, wish in enumerate(wishes, 1)]
        return "\n".join(lines)
    if manner == "clauses":
        joint = pick(generator, JOINTS)
        joints = [joint if generator.random() < 0.5 else pick(generator, JOINTS) for _ in wishes[1:]]
        first = "first " if generator.random() < 0.15 else ""
        text = first + wishes[0].request
        for between, wish in zip(joints, wishes[1:], strict=True):
            text += between + wish.request
        return polite(text, generator)
    return _sentences(wishes, generator)


def _sentences(wishes: Sequence[MediaRequest], generator: np.random.Generator) -> str:
    said = []
    for i, wish in enumerate(wishes):
        led = i > 0 and generator.random() < 0.35
        text = f"{pick(generator, SENTENCES)} {wish.request}" if led else wish.request
        said.append(polite(text, generator) if i == 0 else finished(capital(text), generator, end=True))
    if said[0][-1] not in ".!?":
        said[0] += "."
    return " ".join(said)


def _listed(entries: Sequence[str], generator: np.random.Generator) -> str:
    comma = pick(generator, (", ", ", ", ", then ", " and "))
    last = pick(generator, (" and ", ", and ", " and ", comma, " plus ", ", then ", " and finally "))
    return comma.join(entries[:-1]) + last + entries[-1]


def polite(text: str, generator: np.random.Generator) -> str:
    """The text as a sentence, perhaps with a word before and after it."""
    if generator.random() < 0.15:
        text = f"{pick(generator, BEFORE)} {text}"
    if generator.random() < 0.12:
        after = pick(generator, AFTER)
        text += after if after.startswith(",") else f" {after}"
    return finished(capital(text) if generator.random() < 0.7 else text, generator)


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]


_ASKING = ("can ", "could ", "would ", "may ", "will ", "what ", "how ", "is ", "who ", "which ", "where ")


def finished(text: str, generator: np.random.Generator, end: bool = False) -> str:
    """The text with its closing mark; people often leave it out, unless more follows (`end`)."""
    if text[-1] in ".!?":
        return text
    if text.lower().startswith(_ASKING):
        return text + ("?" if end or generator.random() < 0.7 else "")
    return text + pick(generator, (".", ".", "!") if end else (".", ".", "!", "", "", ""))


def _telling(wordings: Sequence[str], modality: str, generator: np.random.Generator) -> str:
    words = _TELLING.get(modality, ())
    return pick(generator, [wording for wording in wordings if not words or any(word in wording for word in words)])
