"""Dialogues about media that take other media: animations of pictures, and films of a clip and a sound."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from motet.training.nano.dialogues.descriptions import description
from motet.training.nano.dialogues.dialogue import ContextText, Dialogue, exchange, with_media
from motet.training.nano.dialogues.follow_ups import animation_request
from motet.training.nano.dialogues.generator import DialogueGenerator, small_talk
from motet.training.nano.dialogues.kinds.edge_phrases import (
    CLIP_WORDS,
    CLIPS_WITH_SOUND,
    DEFAULT_MOTION,
    FILM_REQUESTS,
    FIRST_PICTURES,
    MOTION_WISHES,
    NO_FILM,
    NO_PICTURE,
    OPEN_ANIMATION_REQUESTS,
    PRAISE,
    SOUND_WORDS,
)
from motet.training.nano.dialogues.phrases import MOTION_VERBS, MOTION_WORDS, phrase, pick
from motet.training.nano.dialogues.questions import QUESTIONS
from motet.training.nano.dialogues.requests import (
    MediaRequest,
    answers,
    combined_prompt,
    complete_request,
    presentation,
)
from motet.training.nano.dialogues.sentences import capitalized, punctuated
from motet.training.nano.dialogues.typing_noise import with_typing_noise
from motet.training.nano.dialogues.unknown_things import new_word
from motet.training.nano.world.world import FILM, Thing, held_out

_PICTURE_WORDS = ("picture", "image", "drawing")


@dataclass(slots=True)
class _Conversation:
    """The media of a conversation so far: the noun of the newest picture, and the modality of the newest clip."""

    picture: str = ""
    motion: str = ""
    clip: str = ""
    sound: bool = False
    newest: str = ""

    def add(self, thing: Thing) -> None:
        """Add a medium, of the user or of the model."""
        self.newest = thing.modality
        match thing.modality:
            case "image":
                self.picture, self.motion = thing.subject, ""
            case "audio":
                self.sound = True
            case "animation":
                self.motion, self.clip = thing.manner, "animation"
            case "video":
                self.clip = "video"


class EdgeDialogues:
    """A generator of dialogues about animations and films, with the things of a `DialogueGenerator`."""

    def __init__(self, generator: DialogueGenerator, test_split: bool = False) -> None:
        self._generator, self._test_split = generator, test_split

    def one_prompt(self, rng: np.random.Generator) -> Dialogue:
        """Return a prompt for an animation or a film of media of the same turn, or a refusal if there are none."""
        chance = rng.random()
        if chance < 0.12:
            return self._nothing_to_take(rng)
        if chance < 0.3:
            return self._attached(rng)
        prompts, requests = self.requests(rng)
        return exchange((with_typing_noise(combined_prompt(prompts, rng), rng),), answers(requests))

    def requests(self, rng: np.random.Generator) -> tuple[list[MediaRequest], list[MediaRequest]]:
        """Return requests with at least one animation or film: those of the prompt, and those of the answer.

        They differ if a clause of the prompt requests several media: "with a low note on a flute".
        """
        picture, sound = self._complete("image", rng), self._complete("audio", rng)
        moving, clip = self._animation(_subject(picture), "", rng), self._complete("video", rng)
        chance = rng.random()
        if chance < 0.36:
            if picture.thing and rng.random() < 0.2:
                sentence = pick(rng, FIRST_PICTURES).format(p=phrase(picture.thing, rng))
                return (both := [replace(picture, sentence=sentence), moving]), both
            return (both := self._with_another([picture, moving], rng)), both
        if chance < 0.4:
            assert moving.thing
            both = [picture, moving, self._animation(_subject(picture), moving.thing.manner, rng)]
            return both, both
        clips = [clip] if chance < 0.68 else [picture, moving]
        film = _film(clips[-1], rng)
        if rng.random() < 0.3:
            assert sound.thing
            sentence = pick(rng, CLIPS_WITH_SOUND).format(c=clips[-1].sentence, s=phrase(sound.thing, rng))
            entry = f"{clips[-1].entry} with {phrase(sound.thing, rng)}"
            return [*clips[:-1], replace(clips[-1], sentence=sentence, entry=entry)], [*clips, sound, film]
        at = int(rng.integers(len(clips) + 1)) if rng.random() < 0.5 else len(clips)
        both = [*clips[:at], sound, *clips[at:], film]
        return both, both

    def conversation(self, rng: np.random.Generator) -> Dialogue:
        """Return two to five exchanges: requests, attachments and small talk, then an animation or a film."""
        media, dialogue = _Conversation(), ()  # type: _Conversation, Dialogue
        count = int(rng.choice([2, 3, 4, 5], p=[0.35, 0.3, 0.2, 0.15]))
        for turn in range(count):
            chance = rng.random() if turn < count - 1 else rng.uniform(0.7, 1)
            if turn == 0:
                chance *= 0.75
            if turn == 0 and rng.random() < 0.25:
                # A film needs both, and few conversations would have both by chance.
                requests = [self._complete(modality, rng) for modality in ("video", "audio")]
            elif chance < 0.4:
                requests = [self._generator.request(rng, complete=True) for _ in range(1 + int(rng.random() < 0.3))]
            elif chance < 0.55:
                dialogue += self._described(media, rng)
                continue
            elif chance < 0.7:
                dialogue += small_talk(rng, later_turn=turn > 0)
                continue
            else:
                requests = [self._next_edge(media, rng)]
            prompt = combined_prompt(requests, rng)
            if turn and rng.random() < 0.3:
                prompt = f"{capitalized(pick(rng, PRAISE))} {prompt}"
            dialogue += exchange((with_typing_noise(prompt, rng),), answers(requests))
            for request in requests:
                if request.thing:
                    media.add(request.thing)
        return dialogue

    def _next_edge(self, media: _Conversation, rng: np.random.Generator) -> MediaRequest:
        complete = bool(media.clip and media.sound)
        if rng.random() < (0.6 if complete else 0.2):
            film = _film_of(media.clip or "video", rng)
            return film if complete else replace(film, reply=NO_FILM, thing=None)
        if not media.picture:
            return replace(self._animation("", "", rng, explicit=True), reply=NO_PICTURE, thing=None)
        explicit = media.newest not in ("image", "animation")
        return self._animation(media.picture, media.motion, rng, explicit)

    def _described(self, media: _Conversation, rng: np.random.Generator) -> Dialogue:
        thing = self._generator.thing(rng)
        media.add(thing)
        question = punctuated(capitalized(pick(rng, QUESTIONS[thing.modality]["describe"])), rng)
        # Later turns refer to the whole thing, so this answer must not be learned.
        answer = ContextText("".join(description(thing)))
        return exchange(with_media([thing], with_typing_noise(question, rng), rng), (answer,))

    def _attached(self, rng: np.random.Generator) -> Dialogue:
        chance = rng.random()
        sound = self._complete("audio", rng)
        if chance < 0.65:
            attached = [self._generator.thing(rng, "image")]
            requests = [self._animation(attached[0].subject, "", rng)]
            if chance < 0.15:
                requests += [sound, _film(requests[0], rng)]
            elif chance < 0.25:
                requests = self._with_another(requests, rng)
        elif chance < 0.8:
            attached = [self._generator.thing(rng, name) for name in ("video", "audio")]
            requests = [_film_of("video", rng)]
        elif chance < 0.9:
            attached, requests = [self._generator.thing(rng, "video")], [sound, _film_of("video", rng)]
        else:
            clip = self._complete("video", rng)
            attached, requests = [self._generator.thing(rng, "audio")], [clip, _film(clip, rng)]
        prompt = with_typing_noise(combined_prompt(requests, rng), rng)
        return exchange(with_media(attached, prompt, rng), answers(requests))

    def _nothing_to_take(self, rng: np.random.Generator) -> Dialogue:
        refused_film = replace(_film_of("video", rng), reply=NO_FILM, thing=None)
        attached: list[Thing] = []
        chance = rng.random()
        if chance < 0.45:
            requests = [replace(self._animation("", "", rng, explicit=True), reply=NO_PICTURE, thing=None)]
            attached = [self._generator.thing(rng, "audio")] if chance < 0.1 else []
        elif chance < 0.65:
            requests = [refused_film]
        elif chance < 0.8:
            requests, attached = [refused_film], [self._generator.thing(rng, pick(rng, ("audio", "video")))]
        else:
            requests = [self._complete(pick(rng, ("audio", "image")), rng), refused_film]
        return exchange(
            with_media(attached, with_typing_noise(combined_prompt(requests, rng), rng), rng), answers(requests)
        )

    def _animation(self, noun: str, last_motion: str, rng: np.random.Generator, explicit: bool = False) -> MediaRequest:
        """Return a request for an animation of a picture of the noun. An `explicit` one names the picture."""
        noun = noun or "picture"
        if rng.random() < 0.12:
            options = [Thing("animation", noun, motion) for motion in ("growing", "turning")]
            thing = next(option for option in options if not held_out(option))
            sentence = _naming_picture(OPEN_ANIMATION_REQUESTS, explicit, rng).format(x=pick(rng, _PICTURE_WORDS))
            return MediaRequest(sentence, "an animation of it", DEFAULT_MOTION.format(m=thing.manner), thing)
        sentence, thing = animation_request(noun, last_motion, rng, self._test_split, explicit)
        if rng.random() < 0.1:
            sentence = self._wish(thing, explicit, rng)
        entry = pick(rng, ("an animation of it {m}", "a clip of it {m}", "it {m}", "a video of it {m}"))
        return MediaRequest(sentence, entry.format(m=thing.manner), presentation(thing), thing)

    def _wish(self, animation: Thing, explicit: bool, rng: np.random.Generator) -> str:
        """Return a sentence that names the motion, and one that requests an animation: one request in two sentences."""
        word, verb = pick(rng, _PICTURE_WORDS), pick(rng, MOTION_VERBS[animation.manner])
        wish = pick(rng, MOTION_WISHES).format(x=word, v=verb, m=pick(rng, MOTION_WORDS[animation.manner]))
        request = _naming_picture(OPEN_ANIMATION_REQUESTS, explicit, rng).format(x=word)
        return f"{wish} {capitalized(request)}"

    def _complete(self, modality: str, rng: np.random.Generator) -> MediaRequest:
        return complete_request(self._generator.thing(rng, modality), rng)

    def _with_another(self, requests: list[MediaRequest], rng: np.random.Generator) -> list[MediaRequest]:
        """Return the requests, sometimes with an unrelated one before or after them."""
        chance = rng.random()
        if chance < 0.12:
            return [self._generator.request(rng, complete=True), *requests]
        return [*requests, self._generator.request(rng, complete=True)] if chance < 0.25 else requests


def _film(clip: MediaRequest, rng: np.random.Generator) -> MediaRequest:
    assert clip.thing
    return _film_of(clip.thing.modality, rng)


def _film_of(clip: str, rng: np.random.Generator) -> MediaRequest:
    words = {"s": pick(rng, SOUND_WORDS), "c": pick(rng, CLIP_WORDS[clip]), "w": new_word(rng)}
    sentence = pick(rng, FILM_REQUESTS).format(**words)
    return MediaRequest(sentence, pick(rng, ("a film of both", "both in one film")), presentation(FILM), FILM)


def _naming_picture(templates: tuple[str, ...], explicit: bool, rng: np.random.Generator) -> str:
    return pick(rng, [template for template in templates if "{x}" in template or not explicit])


def _subject(request: MediaRequest) -> str:
    assert request.thing
    return request.thing.subject
