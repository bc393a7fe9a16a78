"""The dialogues that the nano language model learns from, made up without end.

A dialogue is what people and the model say in turns, with media in their places: those that people attach, and those
that the model asks for. What a thing looks or sounds like is no matter here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from motet.core.workers import Role
from motet.training.nano.dialogues.follow_ups import varied
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.dialogues.requests import (
    Given,
    MediaRequest,
    Part,
    Sparing,
    capital,
    finished,
    here_is,
    named,
    open_wish,
    polite,
    said_together,
    strange_background,
    unfinished,
    unknown,
)
from motet.training.nano.dialogues.small_talk import NOTHING_ATTACHED, QUESTIONS, REFUSALS, TALK, THANKS, UNKNOWN
from motet.training.nano.world.world import ANY, MODALITIES, Thing, article, chosen, impartial, nameless, things

_SCENES = ("wishes", "question", "mixed", "variation", "chat", "talk", "several")
_ODDS = (0.40, 0.20, 0.09, 0.07, 0.16, 0.05, 0.03)
_SEEN = {"image": "I see", "audio": "I hear", "video": "I see"}


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn: who speaks, and text and things in order."""

    role: Role
    parts: tuple[Part, ...]


Dialogue = tuple[Utterance, ...]


class DialogueGenerator:
    """Makes up dialogues about the things that are, or are not, held out.

    Who has only met whole combinations learns which of them there are ("a piano is never low"), and tells a held-out
    thing for another. So in practice subjects are told of things whose manner has no name, and then any manner, each as
    often; manners where the subject is given, often by another name; in both, one attribute alone may be of interest
    (`ANY`). Where a thing is told whole, no answer counts as wrong that would make a held-out thing of it.
    """

    def __init__(self, apart: bool = False) -> None:
        self._apart = apart
        self._things = {name: chosen(name, apart) for name in MODALITIES}
        self._impartial = {name: impartial(name) for name in MODALITIES}

    def dialogue(self, generator: np.random.Generator, scene: str | None = None) -> Dialogue:
        """One more dialogue, of a scene or of any; the generator alone decides which."""
        scene = scene or str(generator.choice(_SCENES, p=_ODDS))
        match scene:
            case "wishes":
                return self.wishes(generator)
            case "question":
                return self.question(generator)
            case "mixed":
                return self.mixed(generator)
            case "variation":
                return self._variation(generator)
            case "chat":
                return self._chat(generator)
            case "several":
                return self.several(generator)
            case "describe":
                return self.described(generator)
            case "caption":
                return self.captioned(generator)
            case _:
                return _talk(generator)

    def wishes(self, generator: np.random.Generator, plain: bool = False) -> Dialogue:
        """One to four wishes in one prompt, and the answer. `plain` ones name both attributes of known things."""
        count = int(generator.choice([1, 2, 3, 4], p=[0.42, 0.28, 0.2, 0.1]))
        wishes = [self._wish(generator, plain) for _ in range(count)]
        return _exchange((_noisy(said_together(wishes, generator), generator),), _answers(wishes))

    def question(self, generator: np.random.Generator) -> Dialogue:
        """Media, a question about them, and the answer."""
        thing, said, reply = self._asked(generator)
        if generator.random() < 0.03:
            said = ""
        return _exchange(_attached([thing], _noisy(said, generator), generator), reply)

    def mixed(self, generator: np.random.Generator) -> Dialogue:
        """Media, sometimes a question about them, and wishes that have nothing to do with them."""
        count = int(generator.choice([1, 2, 3], p=[0.55, 0.25, 0.2]))
        wishes = [self._wish(generator, plain=True) for _ in range(count)]
        wanted = said_together(wishes, generator)
        if generator.random() < 0.25:
            shown = self.thing(generator)
            return _exchange(_attached([shown], _noisy(wanted, generator), generator), _answers(wishes))
        thing, asked, reply = self._asked(generator)
        joint = pick(generator, (" and ", ", then ", " Then ", " And ", " ", " and then "))
        if joint.strip():
            wanted = wanted[0].lower() + wanted[1:]
        inside = joint.strip(", ").islower()
        asked = asked.rstrip("?.!") if inside else asked if asked[-1] in ".?!" else f"{asked}."
        said = asked + joint + wanted
        return _exchange(
            _attached([thing], _noisy(said, generator), generator), (*reply, *_answers(wishes, first=False))
        )

    def described(self, generator: np.random.Generator) -> Dialogue:
        """Media and their description: what the first stage aligns the input with."""
        thing, reply = self._described(self.thing(generator), generator)
        said = finished(capital(pick(generator, QUESTIONS[thing.modality]["describe"])), generator)
        return _exchange((thing, said), reply)

    def captioned(self, generator: np.random.Generator) -> Dialogue:
        """A caption, and the thing it names: what the second stage aligns the output with."""
        # Drawn among all things, not first by modality: the larger a world, the longer it takes to learn.
        thing = pick(generator, [thing for each in self._things.values() for thing in each])
        return _exchange((thing.caption,), (here_is(thing), thing))

    def several(self, generator: np.random.Generator) -> Dialogue:
        """Two or three attached media, and what each of them is."""
        count = 2 + int(generator.random() < 0.3)
        told = [self._described(self.thing(generator), generator) for _ in range(count)]
        said = pick(
            generator, ("What are these?", "Describe all of them.", "What do you see and hear?", "What is what?")
        )
        reply: list[Part] = []
        for _, (start, *rest) in told:
            reply += [_after(start) if reply else start, *rest]
        return _exchange(_attached([thing for thing, _ in told], _noisy(said, generator), generator), reply)

    def thing(self, generator: np.random.Generator, modality: str | None = None) -> Thing:
        """A thing to talk about."""
        choices = self._things[modality or pick(generator, MODALITIES)]
        return choices[int(generator.integers(len(choices)))]

    def _asked(self, generator: np.random.Generator) -> tuple[Thing, str, tuple[Part, ...]]:
        """A thing, a question about it, and the answer."""
        thing = self.thing(generator)
        kind = str(generator.choice(["describe", "subject", "manner", "check"], p=[0.64, 0.13, 0.13, 0.1]))
        if kind == "check":
            thing = self._nameless(thing)
        elif kind != "describe" and not self._apart and generator.random() < 0.5:
            thing = replace(thing, **{"manner" if kind == "subject" else "subject": ANY})
        if kind == "check":
            said, answer = _checked(thing, generator)
            return thing, said, (answer,)
        said = pick(generator, QUESTIONS[thing.modality][kind])
        said = finished(capital(said) if generator.random() < 0.7 else said, generator)
        if kind == "describe":
            thing, reply = self._described(thing, generator)
            return thing, said, reply
        if kind == "manner":
            start, _, end = _manner(thing)
            return thing, said, (start, self._sparing(thing, lambda one: _manner(one)[1]), end)
        return thing, said, (self._sparing(thing, lambda one: f"It is {article(one.subject)}."),)

    def _described(self, thing: Thing, generator: np.random.Generator) -> tuple[Thing, tuple[Part, ...]]:
        """The thing, or one that is like it, and its description."""
        start, manner, end = _told(thing)
        chance = generator.random()
        if self._apart or chance < 0.3:
            subject = self._sparing(thing, lambda one: _told(one)[0])
            return thing, (subject, self._sparing(thing, lambda one: _told(one)[1]), end)
        if chance < 0.5:
            return self._nameless(thing), (start, _any_manner(thing, generator), end)
        if chance < 0.75:
            return replace(thing, manner=ANY), (start, Given(manner), end)
        fair = self._fair(thing, generator)
        name = fair.subject if generator.random() < 0.5 else pick(generator, UNKNOWN[thing.modality])
        return replace(thing, subject=ANY), (Given(_told(replace(thing, subject=name))[0]), manner, end)

    def _fair(self, thing: Thing, generator: np.random.Generator) -> Thing:
        """In practice, a thing of an impartial subject, in the same manner."""
        if self._apart or thing in self._impartial[thing.modality]:
            return thing
        return pick(generator, [one for one in self._impartial[thing.modality] if one.manner == thing.manner])

    def _sparing(self, thing: Thing, words: Callable[[Thing], str]) -> Part:
        """Words about a thing, which spare those about each held-out thing that has an attribute in common with it."""
        others = [
            one for one in chosen(thing.modality, True) if thing.subject == one.subject or thing.manner == one.manner
        ]
        spared = {words(one) for one in others} - {words(thing)}
        return Sparing(words(thing), tuple(sorted(spared))) if spared and not self._apart else words(thing)

    def _nameless(self, thing: Thing) -> Thing:
        """In practice, the subject in a manner of no name."""
        return thing if self._apart else Thing(thing.modality, thing.subject, "")

    def _wish(self, generator: np.random.Generator, plain: bool = False) -> MediaRequest:
        thing = self.thing(generator)
        chance = generator.random()
        if plain or chance < 0.78:
            return named(thing, generator)
        if chance < 0.88:
            return unfinished(thing, generator)
        if chance < 0.90:
            return open_wish(thing.modality, generator)
        if chance < 0.92:
            return strange_background(self.thing(generator, "image"), generator)
        return unknown(thing, generator)

    def _variation(self, generator: np.random.Generator) -> Dialogue:
        """Media, and a wish for a variation of them."""
        thing = self.thing(generator)
        said, wanted = varied(thing, self._apart, generator)
        while wanted == thing != self._fair(thing, generator):
            said, wanted = varied(thing, self._apart, generator)
        if isinstance(wanted, Thing) and wanted != thing:
            thing = self._nameless(thing) if wanted.subject == thing.subject else self._fair(thing, generator)
        parts = _attached([thing], _noisy(polite(said, generator), generator), generator)
        return _exchange(parts, _presented(wanted))

    def _chat(self, generator: np.random.Generator) -> Dialogue:
        """Two or three exchanges, each about the thing of the one before it, or about nothing."""
        if generator.random() < 0.5:
            wish = named(self.thing(generator), generator)
            dialogue = _exchange((_noisy(said_together([wish], generator), generator),), _answers([wish]))
            thing = wish.thing
        else:
            thing = self.thing(generator)
            said = finished(capital(pick(generator, QUESTIONS[thing.modality]["describe"])), generator)
            # What follows is about the thing as it is, so nothing of this answer may be learned.
            told = Given("".join(_told(thing)))
            dialogue = _exchange(_attached([thing], _noisy(said, generator), generator), (told,))
        for _ in range(1 + int(generator.random() < 0.35)):
            chance = generator.random()
            if thing is None or chance < 0.12:
                dialogue += _talk(generator, calm=True)
            elif chance < 0.25:
                dialogue += self.wishes(generator, plain=True)
                thing = None
            else:
                said, wanted = varied(thing, self._apart, generator)
                dialogue += _exchange((_noisy(polite(said, generator), generator),), _presented(wanted))
                thing = wanted if isinstance(wanted, Thing) else thing
        return dialogue


def _any_manner(thing: Thing, generator: np.random.Generator) -> Part:
    """What is said of the manner of a thing in none that has a name: each is as likely as any other.

    So it is learned that a subject's name says nothing of its manner. A chance colour may look like one that has a
    name, so of pictures nothing is learned.
    """
    manner = _manner(pick(generator, things(thing.modality)))[1]
    return Given(manner) if thing.modality == "image" else manner


def _manner(thing: Thing) -> tuple[str, str, str]:
    """The sentence that tells a thing's manner, in three pieces: the middle one is the manner itself."""
    match thing.modality:
        case "image":
            return "The background is", f" {thing.manner}", "."
        case "audio":
            return "The note is", f" {thing.manner}", "."
        case _:
            return "It is", f" {thing.manner}", "."


def _after(part: Part) -> Part:
    """Words as they go on after other words."""
    match part:
        case str():
            return f" {part}"
        case Given():
            return Given(f" {part.text}")
        case Sparing():
            return Sparing(f" {part.text}", tuple(f" {other}" for other in part.spared))
        case Thing():
            return part


def _told(thing: Thing) -> tuple[str, str, str]:
    """The description of a thing in three pieces: the first tells its subject, the second its manner.

    Two sentences, so that how the second one goes on can be learned after any subject.
    """
    start, manner, end = _manner(thing)
    return f"{_SEEN[thing.modality]} {article(thing.subject)}. {start}", manner, end


def _checked(thing: Thing, generator: np.random.Generator) -> tuple[str, str]:
    """A question that is answered with yes or no, and what it is."""
    same = generator.random() < 0.5
    others = [other.subject for other in nameless(thing.modality) if other.subject != thing.subject]
    guess = thing.subject if same else pick(generator, others)
    wording = pick(
        generator, ("Is this {g}?", "Is it {g}?", "Do you recognise {g}?", "Is that {g}?", "{g}?", "Is there {g}?")
    )
    said = capital(wording.format(g=article(guess)))
    return said, f"{'Yes' if same else 'No'}, it is {article(thing.subject)}."


def _presented(wanted: Thing | str) -> tuple[Part, ...]:
    """A thing with its sentence; where a modality stands for it, the refusal of that modality."""
    return (here_is(wanted), wanted) if isinstance(wanted, Thing) else (REFUSALS[wanted],)


def _answers(wishes: Sequence[MediaRequest], first: bool = True) -> tuple[Part, ...]:
    parts: list[Part] = []
    for i, wish in enumerate(wishes):
        parts += wish.answer(first=first and i == 0)
    return tuple(parts)


def _attached(shown: Sequence[Thing], said: str, generator: np.random.Generator) -> tuple[Part, ...]:
    """A user's parts: the media mostly before the text, sometimes after it."""
    if not said:
        return tuple(shown)
    return (said, *shown) if generator.random() < 0.2 else (*shown, said)


def _exchange(asked: Sequence[Part], answered: Sequence[Part]) -> Dialogue:
    return Utterance("user", tuple(asked)), Utterance("assistant", tuple(answered))


def _talk(generator: np.random.Generator, calm: bool = False) -> Dialogue:
    """Small talk; `calm` leaves out the questions that only a first turn can ask."""
    replies = [reply for reply in TALK if not (calm and reply == NOTHING_ATTACHED)]
    reply = THANKS if calm and generator.random() < 0.5 else pick(generator, replies)
    said = pick(generator, TALK[reply])
    said = finished(capital(said) if generator.random() < 0.7 else said, generator)
    return _exchange((_noisy(said, generator),), (reply,))


def _noisy(text: str, generator: np.random.Generator) -> str:
    """The text as it is typed: sometimes in one case, sometimes with a slip of the fingers."""
    chance = generator.random()
    if chance < 0.25:
        text = text.lower()
    elif chance < 0.27:
        text = text.upper()
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 4]
    if long and generator.random() < 0.06:
        spot = int(generator.choice(long))
        words[spot] = _slipped(words[spot], generator)
        text = " ".join(words)
    return text


def _slipped(word: str, generator: np.random.Generator) -> str:
    at = int(generator.integers(1, len(word) - 1))
    return pick(
        generator,
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
        ),
    )
