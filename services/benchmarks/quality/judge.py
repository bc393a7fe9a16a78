"""The judge of responses: it compares their media and text with an evaluation case."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.core.media import Media
from motet.media.decode import decode_clip, decode_picture, decode_sound
from motet.training.nano.world.world import Thing
from services.benchmarks.quality import oracles
from services.benchmarks.quality.cases import EvaluationCase

BARS = {
    "modalities": 0.97,
    "picture noun": 0.75,
    "picture background": 0.95,
    "sound instrument": 0.75,
    "sound register": 0.90,
    "clip motion": 0.90,
    "picture understood": 0.85,
    "sound understood": 0.85,
    "clip understood": 0.85,
    "plan with edges": 0.97,
    "animation noun": 0.85,
    "animation motion": 0.90,
    "animation background": 0.95,
    "film streams": 1.0,
    "nothing to take refused": 0.90,
    "earlier media": 0.85,
    "own work": 0.85,
    "negation": 0.90,
    "five things": 0.85,
    "only made media promised": 0.98,
    "outside the world refused": 0.90,
    "yes or no": 0.85,
}
"""Minimum share of correct judgements, by figure."""

_NOUNS = {"image": "picture", "audio": "sound", "video": "clip"}


@dataclass(frozen=True, slots=True)
class JudgedResponse:
    """A response: its text, and its media parts in the order of the response, with their modalities."""

    text: str
    media: tuple[tuple[str, Media], ...]


class JudgementCounts:
    """The number of judgements and of correct judgements, by figure, and a note about each incorrect one."""

    def __init__(self) -> None:
        self.correct: Counter[str] = Counter()
        self.total: Counter[str] = Counter()
        self.incorrect: list[str] = []

    def add(self, figure: str, correct: bool, note: str) -> None:
        """Add a judgement."""
        self.total[figure] += 1
        self.correct[figure] += correct
        if not correct:
            self.incorrect.append(f"{figure}: {note}")

    def figures(self) -> dict[str, float]:
        """Return the share of correct judgements of each judged figure, first of those with a bar."""
        names = dict.fromkeys((*BARS, *sorted(self.total)))
        return {name: round(self.correct[name] / self.total[name], 4) for name in names if self.total[name]}


class Judge:
    """A judge with trained classifiers. `pictures` are the generated pictures and the middle frames of clips."""

    def __init__(self, classifiers: oracles.Oracles, counts: JudgementCounts) -> None:
        self._classifiers = classifiers
        self._counts = counts
        self.pictures: list[NDArray[np.uint8]] = []

    async def judge_generation(self, case: EvaluationCase, response: JudgedResponse) -> None:
        """Judge a response that should hold media. A missing media part is incorrect in each of its figures."""
        modalities = [modality for modality, _ in response.media]
        expected = [thing.modality for thing in case.expected]
        self._counts.add("modalities", modalities == expected, f"{case.text} -> {modalities}")
        unmatched = list(response.media)
        for thing in case.expected:
            match = next((item for item in unmatched if item[0] == thing.modality), None)
            if match:
                unmatched.remove(match)
            await self._judge_media(thing, match[1] if match else None)

    def judge_understanding(self, case: EvaluationCase, response: JudgedResponse) -> None:
        """Judge a description: it must name both attributes and hold no media."""
        assert case.attached
        thing = case.attached
        correct = thing.subject in response.text and thing.manner in response.text and not response.media
        self._counts.add(f"{_NOUNS[thing.modality]} understood", correct, f"{thing.caption} -> {response.text}")

    async def _judge_media(self, thing: Thing, media: Media | None) -> None:
        observed: dict[str, str] = {}
        if media is not None:
            observed = await getattr(self, f"_{_NOUNS[thing.modality]}")(media)
        figures = {
            "image": (("picture noun", thing.subject), ("picture background", thing.manner)),
            "audio": (("sound instrument", thing.subject), ("sound register", thing.manner)),
            "video": (("clip motion", thing.manner), ("clip noun", thing.subject)),
        }
        for figure, expected in figures[thing.modality]:
            value = observed.get(figure, "nothing")
            self._counts.add(figure, value == expected, f"{thing.caption} -> {value}")

    async def _picture(self, media: Media) -> dict[str, str]:
        picture = await decode_picture(media)
        self.pictures.append(picture)
        return {"picture noun": self._classifiers.noun(picture), "picture background": oracles.background(picture)}

    async def _sound(self, media: Media) -> dict[str, str]:
        sound, rate = await decode_sound(media)
        return {
            "sound instrument": self._classifiers.instrument(sound, rate),
            "sound register": oracles.register(sound, rate),
        }

    async def _clip(self, media: Media) -> dict[str, str]:
        frames, _ = await decode_clip(media)
        middle = frames[len(frames) // 2]
        self.pictures.append(middle)
        return {"clip motion": oracles.motion(frames), "clip noun": self._classifiers.noun(middle)}
