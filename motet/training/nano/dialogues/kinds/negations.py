"""Prompts that exclude media: "no sound", "don't show a cat"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motet.training.nano.dialogues.dialogue import Dialogue, exchange, with_media
from motet.training.nano.dialogues.generator import DialogueGenerator
from motet.training.nano.dialogues.phrases import phrase, pick, split_phrases, subject_phrase
from motet.training.nano.dialogues.requests import answers, combined_prompt
from motet.training.nano.dialogues.sentences import capitalized, punctuated
from motet.training.nano.dialogues.typing_noise import with_typing_noise
from motet.training.nano.world.world import MODALITIES, Thing

NOTHING_WANTED = "All right, I make nothing."
_WORDS = {
    "image": split_phrases("picture|image|drawing|picture|pictures|images"),
    "audio": split_phrases("sound|music|audio|sound|note|sounds|noise"),
    "video": split_phrases("clip|video|clip|video|animation|clips|videos|film"),
}
_VERBS = {
    "image": split_phrases("draw|show me|show|paint|draw me|make a picture of"),
    "audio": split_phrases("play|play me|let me hear|make the sound of|play"),
    "video": split_phrases("make a clip of|film|make a video of|show me a clip of|animate"),
}
# {w} is the word of an excluded modality, {d} an excluded request such as "draw a cat".
_EXCLUDED_MODALITY = split_phrases(
    """no {w}|no {w} please|without {w}|but no {w}|without any {w}|and no {w}|no {w}, please|but without {w}|not a {w}
    I want no {w}|I do not want any {w}|I don't need a {w}|don't make a {w}|but do not make a {w}|there must be no {w}
    just that, no {w}|only that and no {w}|leave out the {w}|skip the {w}|please no {w}|I don't want {w} with it
    there should be no {w} with it|no {w} at all|without a single {w}|but really no {w}|spare me the {w}|forget the {w}
    I can do without {w}|no need for {w}|do it without {w}|omit the {w}|avoid {w}|none of your {w}|but not one {w}
    with no {w} whatsoever|without even one {w}|not with any {w}|without {w} of any kind|do it with no {w} at all"""
)
_EXCLUDED_REQUEST = split_phrases(
    """don't {d}|do not {d}|but don't {d}|but do not {d}|please don't {d}|and don't {d}|never {d}|you must not {d}
    I don't want you to {d}|there is no need to {d}|you need not {d}|you don't have to {d}|do not even try to {d}
    don't bother to {d}|whatever happens, don't {d}|in no case {d}|stop, don't {d}|better not {d}|I forbid you to {d}"""
)
# {n} is an excluded thing.
_EXCLUDED_THING = split_phrases(
    """but not {n}|and not {n}|not {n}|no {n} please|I don't need {n}|I do not want {n}|leave out {n}|forget about {n}
    you can skip {n}|but nothing with {n}|never mind {n}|there is no need for {n}|without {n}|but spare me {n}
    do not worry about {n}|you may leave {n} aside|I have no use for {n}|don't trouble yourself with {n}|let {n} be
    pay no attention to {n}|don't think about {n}|there is no call for {n}|ignore {n}|nothing of {n}, though
    don't bother about {n}|you need not care about {n}|you need not think of {n}|you don't have to care for {n}
    there is no reason to think of {n}|you can save yourself the trouble of {n}|no one needs {n}|we can do without {n}
    you are free to skip {n}|it is not necessary to prepare {n}|let us leave {n} for another day
    I can live without {n}"""
)
_TIMES = split_phrases(
    """this time|at the moment|yet|any more|again|right away|tonight|this morning|for a while|while I am here|please
    , please|, I am busy|, I don't like that|, not even once|, I had enough of it|in this conversation"""
)
_NOTHING = split_phrases(
    """don't draw anything|do not draw anything|don't show me anything|don't play anything|do not make anything
    show nothing|play nothing|make nothing|don't make any media|no pictures please|no sound please|no music please
    no videos|please stop drawing|stop playing|don't show|do not show|don't draw|don't play|no more pictures
    no more sounds|nothing now|nothing for now|I don't want anything|no further images|enough pictures
    enough of the pictures|enough music|enough videos|that's enough sound|I have seen enough clips|no more clips
    no more music|no more videos, please|no more drawings today|no further sounds please|stop making pictures
    stop the music|stop with the videos|I want no more pictures|I need no more clips|I have enough sounds
    do not send me pictures|don't make clips|don't send any sound|leave me alone with your pictures|no images now
    not one more note|spare me your videos|keep your pictures|I am tired of the music|silence|quiet please"""
)
_JOINTS = (", ", " ", ". ", "; ", " - ")


def negation(generator: DialogueGenerator, rng: np.random.Generator) -> Dialogue:
    """Return a prompt that excludes something, and an answer without it."""
    chance = rng.random()
    if chance < 0.25:
        return _nothing(generator.thing(rng), rng)
    if chance < 0.4:
        thing, question, reply = generator.question_about_thing(rng)
        text = _joined(question.rstrip(".!"), _excluded(generator, [thing], rng), rng)
        return exchange(with_media([thing], with_typing_noise(text, rng), rng), reply)
    requests = [generator.request(rng, complete=True) for _ in range(int(rng.choice([1, 2], p=[0.75, 0.25])))]
    prompt = combined_prompt(requests, rng).rstrip(".!")
    wanted = [request.thing for request in requests if request.thing]
    text = _joined(prompt, _excluded(generator, wanted, rng), rng)
    return exchange((with_typing_noise(text, rng),), answers(requests))


def _nothing(thing: Thing, rng: np.random.Generator) -> Dialogue:
    """Return a prompt that only excludes, and an answer in words."""
    text = pick(rng, _NOTHING)
    if rng.random() < 0.6:
        text = _excluded_request(thing, rng).removeprefix("but ").removeprefix("and ")
        if rng.random() < 0.35:
            text = f"{text} {pick(rng, _TIMES)}".replace(" ,", ",")
    text = punctuated(capitalized(text) if rng.random() < 0.7 else text, rng)
    return exchange((with_typing_noise(text, rng),), (NOTHING_WANTED,))


def _excluded(generator: DialogueGenerator, wanted: Sequence[Thing], rng: np.random.Generator) -> str:
    """Return a clause that excludes a modality that no wanted thing has, or a thing with another subject."""
    others = [name for name in MODALITIES if name not in {thing.modality for thing in wanted}]
    if others and rng.random() < 0.55:
        return pick(rng, _EXCLUDED_MODALITY).format(w=pick(rng, _WORDS[pick(rng, others)]))
    excluded = generator.thing(rng)
    while excluded.subject in {thing.subject for thing in wanted}:
        excluded = generator.thing(rng)
    return _excluded_request(excluded, rng)


def _excluded_request(thing: Thing, rng: np.random.Generator) -> str:
    named = phrase(thing, rng) if rng.random() < 0.5 else subject_phrase(thing, rng)
    if rng.random() < 0.4:
        return pick(rng, _EXCLUDED_THING).format(n=named)
    return pick(rng, _EXCLUDED_REQUEST).format(d=f"{pick(rng, _VERBS[thing.modality])} {named}")


def _joined(text: str, clause: str, rng: np.random.Generator) -> str:
    """Return both texts in either order."""
    if rng.random() < 0.5 and not clause.startswith(("but ", "and ", "just ", "only ")):
        joint = pick(rng, (", ", ", ", ". ", ": ", ", just ", ", but "))
        return f"{capitalized(clause)}{joint}{text[:1].lower()}{text[1:]}"
    if text.endswith("?"):
        return f"{text} {capitalized(clause)}."
    return punctuated(f"{text}{pick(rng, _JOINTS)}{clause}", rng)
