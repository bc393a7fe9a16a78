"""One requested medium: the user's request and the model's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from motet.training.nano.dialogues.dialogue import DialoguePart
from motet.training.nano.dialogues.phrases import (
    CONJUNCTIONS,
    LIST_ENTRIES,
    LIST_REQUESTS,
    MOTION_COMMANDS,
    MOTION_VERBS,
    REQUESTS,
    SENTENCE_OPENERS,
    phrase,
    pick,
    split_phrases,
    subject_phrase,
)
from motet.training.nano.dialogues.refusals import NO_BACKGROUND, REFUSALS, UNKNOWN_BACKGROUNDS
from motet.training.nano.dialogues.sentences import capitalized, punctuated, with_courtesy
from motet.training.nano.dialogues.unknown_things import unknown_subject
from motet.training.nano.world.world import Thing, held_out, with_article

# The model's choice of a missing manner. The second applies if the first is held out.
_DEFAULT_MANNERS = {"image": ("white", "blue"), "audio": ("middle", "low"), "video": ("moving right", "moving left")}
_DEFAULT_THINGS = {
    "image": Thing("image", "sunflower", "blue"),
    "audio": Thing("audio", "flute", "middle"),
    "video": Thing("video", "rocket", "moving up"),
}
_PRESENTATIONS = {
    "image": "Here is {c}.",
    "audio": "This is {c}.",
    "video": "Here you see {c}.",
    "animation": "Here it is {m}.",
    "film": "Here is {c}.",
}
_DEFAULT_MANNER_PRESENTATIONS: Mapping[str, str] = {
    "image": "You named no background, so here is {c}.",
    "audio": "You named no register, so this is {c}.",
    "video": "You named no motion, so this is {c}.",
}
_DEFAULT_THING_PRESENTATIONS: Mapping[str, str] = {
    "image": "You left the choice to me, so here is {c}.",
    "audio": "You left the choice to me, so this is {c}.",
    "video": "You left the choice to me, so this is {c}.",
}
# Words that name a modality.
_MODALITY_WORDS = {
    "audio": ("play", "hear", "listen", "sound", "record", "audio", "perform"),
    "video": ("video", "clip", "animat", "film", "movie", "watch"),
}
# Requests that name only a modality.
_OPEN_REQUESTS: Mapping[str, tuple[str, ...]] = {
    "image": split_phrases(
        """draw something|show me something|surprise me|draw anything|show me a picture|make a picture
        draw an animal|paint something nice|I want a picture|generate an image|create an image
        show me an image|any picture please|draw me a picture|draw whatever you like|make something
        give me a picture|can you draw something?"""
    ),
    "audio": split_phrases(
        """play something|play a note|make a sound|let me hear something|play music|play some music
        play an instrument|play any note|I want to hear something|generate a sound|make some noise
        give me a sound|play a sound|play a tune|play me something|can you play something?|create a sound
        play whatever you like"""
    ),
    "video": split_phrases(
        """make a video|make a clip|show me a video|film something|animate something|I want to watch something
        generate a video|create a video|show me a clip|make a movie|give me a video|make any video
        can you make a video?|create a clip|make an animation|show me an animation|make a short clip"""
    ),
}


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """One requested medium: the request as a sentence and as a list entry, and the answer.

    `thing` is None if the answer is a refusal.
    """

    sentence: str
    entry: str
    reply: str
    thing: Thing | None

    def answer(self, first: bool) -> tuple[DialoguePart, ...]:
        """Return the reply and its medium. A reply that is not the `first` continues the previous one."""
        text = self.reply if first else f" {_continuation(self.reply)}"
        return (text,) if self.thing is None else (text, self.thing)


def _continuation(sentence: str) -> str:
    """Return "And here is ..." for "Here is ...". A sentence about "I" or "You" does not change."""
    return sentence if sentence.startswith(("I ", "You ")) else f"And {sentence[0].lower()}{sentence[1:]}"


def presentation(thing: Thing) -> str:
    """Return the sentence that presents a thing."""
    return _PRESENTATIONS[thing.modality].format(c=thing.caption, m=thing.manner)


def complete_request(thing: Thing, rng: np.random.Generator) -> MediaRequest:
    """Return a request that names both attributes of a thing."""
    named = phrase(thing, rng)
    sentence = pick(rng, REQUESTS[thing.modality]).format(p=named)
    if thing.modality == "video" and rng.random() < 0.2:
        verb = pick(rng, MOTION_VERBS[thing.manner])
        sentence = pick(rng, MOTION_COMMANDS).format(n=with_article(thing.subject), v=verb)
    entry = pick(rng, LIST_ENTRIES[thing.modality]).format(p=named)
    return MediaRequest(sentence, entry, presentation(thing), thing)


def subject_request(thing: Thing, rng: np.random.Generator) -> MediaRequest:
    """Return a request that names only the subject. The answer names the manner that the model chose."""
    thing = with_default_manner(thing)
    named = subject_phrase(thing, rng)
    sentence = _naming_modality(REQUESTS[thing.modality], thing.modality, rng).format(p=named)
    entry = _naming_modality(LIST_ENTRIES[thing.modality], thing.modality, rng).format(p=named)
    reply = _DEFAULT_MANNER_PRESENTATIONS[thing.modality].format(c=thing.caption)
    return MediaRequest(sentence, entry, reply, thing)


def with_default_manner(thing: Thing) -> Thing:
    """Return the thing's subject with the model's default manner."""
    options = (Thing(thing.modality, thing.subject, manner) for manner in _DEFAULT_MANNERS[thing.modality])
    return next(option for option in options if not held_out(option))


def open_request(modality: str, rng: np.random.Generator) -> MediaRequest:
    """Return a request that names only a modality."""
    thing = _DEFAULT_THINGS[modality]
    sentence = pick(rng, _OPEN_REQUESTS[modality])
    entry = {"image": "any picture", "audio": "any sound", "video": "any video"}[modality]
    return MediaRequest(sentence, entry, _DEFAULT_THING_PRESENTATIONS[modality].format(c=thing.caption), thing)


def unknown_subject_request(thing: Thing, rng: np.random.Generator) -> MediaRequest:
    """Return a request for a subject outside the world, in the thing's manner. The answer is a refusal."""
    unknown = Thing(thing.modality, unknown_subject(thing.modality, rng), thing.manner)
    subject_only = rng.random() < 0.5
    named = subject_phrase(unknown, rng) if subject_only else phrase(unknown, rng)
    sentence = _naming_modality(REQUESTS[thing.modality], thing.modality, rng).format(p=named)
    entry = _naming_modality(LIST_ENTRIES[thing.modality], thing.modality, rng).format(p=named)
    return MediaRequest(sentence, entry, REFUSALS[thing.modality], None)


def unknown_background_request(thing: Thing, rng: np.random.Generator) -> MediaRequest:
    """Return a request for a picture on a background outside the world. The answer has the default background."""
    chosen = with_default_manner(thing)
    named = phrase(Thing("image", thing.subject, pick(rng, UNKNOWN_BACKGROUNDS)), rng)
    sentence = pick(rng, REQUESTS["image"]).format(p=named)
    entry = pick(rng, LIST_ENTRIES["image"]).format(p=named)
    return MediaRequest(sentence, entry, NO_BACKGROUND.format(c=chosen.caption), chosen)


def answers(requests: Sequence[MediaRequest], first: bool = True) -> tuple[DialoguePart, ...]:
    """Return the answer to all requests. If not `first`, the answer continues an earlier sentence."""
    parts: list[DialoguePart] = []
    for i, request in enumerate(requests):
        parts += request.answer(first=first and i == 0)
    return tuple(parts)


def combined_prompt(requests: Sequence[MediaRequest], rng: np.random.Generator, entries: float = 0.32) -> str:
    """Return one prompt for all requests, in their order. `entries` is the probability of a list in one sentence."""
    if len(requests) == 1:
        return with_courtesy(requests[0].sentence, rng)
    if rng.random() < entries:
        listed = _enumeration([request.entry for request in requests], rng)
        return with_courtesy(pick(rng, LIST_REQUESTS).format(l=listed), rng)
    form = rng.choice(["sentences", "clauses", "lines"], p=[0.44, 0.44, 0.12])
    if form == "lines":
        marker = pick(rng, ("{i}. ", "- ", "{i}) ", "* ", ""))
        lines = [marker.format(i=i) + punctuated(request.sentence, rng) for i, request in enumerate(requests, 1)]
        return "\n".join(lines)
    return _clauses(requests, rng) if form == "clauses" else _sentences(requests, rng)


def _clauses(requests: Sequence[MediaRequest], rng: np.random.Generator) -> str:
    conjunction = pick(rng, CONJUNCTIONS)
    conjunctions = [conjunction if rng.random() < 0.5 else pick(rng, CONJUNCTIONS) for _ in requests[1:]]
    first = "first " if rng.random() < 0.15 else ""
    text = first + requests[0].sentence
    for between, request in zip(conjunctions, requests[1:], strict=True):
        text += between + request.sentence
    return with_courtesy(text, rng)


def _sentences(requests: Sequence[MediaRequest], rng: np.random.Generator) -> str:
    sentences = []
    for i, request in enumerate(requests):
        has_opener = i > 0 and rng.random() < 0.35
        text = f"{pick(rng, SENTENCE_OPENERS)} {request.sentence}" if has_opener else request.sentence
        sentences.append(with_courtesy(text, rng) if i == 0 else punctuated(capitalized(text), rng, required=True))
    if sentences[0][-1] not in ".!?":
        sentences[0] += "."
    return " ".join(sentences)


def _enumeration(entries: Sequence[str], rng: np.random.Generator) -> str:
    comma = pick(rng, (", ", ", ", ", then ", " and "))
    last = pick(rng, (" and ", ", and ", " and ", comma, " plus ", ", then ", " and finally "))
    return comma.join(entries[:-1]) + last + entries[-1]


def _naming_modality(templates: Sequence[str], modality: str, rng: np.random.Generator) -> str:
    """Return one of the templates that name the modality, because a subject alone does not imply its modality."""
    words = _MODALITY_WORDS.get(modality, ())
    return pick(rng, [template for template in templates if not words or any(word in template for word in words)])
