"""How well the nano bundle does what it is asked, judged by `oracles.py`.

    python -m services.benchmarks.quality.nano_eval --json

Every prompt asks for, or shows, combinations of attributes that nothing in the bundle was trained on
(`motet.training.nano.world.world.held_out`), in wordings written for this file. The whole system answers, from text to
media files. A media part that never comes counts as wrong in each of its figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.core.errors import MotetError
from motet.core.events import PartDelta, PartStarted
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet
from motet.media.decode import decode_clip, decode_picture, decode_sound
from motet.media.encode import encode_clip, encode_picture, encode_sound
from motet.training.nano.world import clips, pictures, sounds
from motet.training.nano.world.world import MODALITIES, REGISTERS, Thing, held_out, things
from services.benchmarks.quality import oracles
from services.embedded import embedded
from services.factory import Factory, open_bundle

# Figure -> the least that this edition must reach.
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
}

_WISHES = {
    "image": ("a picture of {}", "an image of {}", "{}"),
    "audio": ("the sound of {}", "{}", "a recording of {}"),
    "video": ("a video of {}", "a clip of {}", "a short film of {}"),
}
_OPENINGS = ("Show me {}.", "Could you make {}, please?", "I would love {}", "Please create {}.", "Give me {}!")
_QUESTIONS = {
    "image": ("What can you see in this picture?", "Describe this image.", "What is this?"),
    "audio": ("What do you hear?", "Describe this sound.", "Which instrument is this, and how high does it play?"),
    "video": ("What happens in this video?", "Describe this clip.", "What is going on here?"),
}
_NOUNS = {"image": "picture", "audio": "sound", "video": "clip"}


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt: its text, what is attached, and what must come of it."""

    text: str
    wanted: tuple[Thing, ...] = ()
    shown: Thing | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What came: the answer's text, and the media parts in the answer's order."""

    text: str
    media: tuple[tuple[str, Media], ...]
    seconds: float


def generation_cases(rng: np.random.Generator) -> list[Case]:
    """Every held-out combination alone, and then mixes of two and three in any order: over 120 prompts."""
    unseen = {name: [thing for thing in things(name) if held_out(thing)] for name in MODALITIES}
    alone = [Case(_asked([thing], rng), (thing,)) for name in MODALITIES for thing in unseen[name]]
    mixes = []
    for count in [2] * 40 + [3] * 25:
        kinds = rng.permutation(MODALITIES)[:count]
        wanted = [unseen[str(kind)][rng.integers(len(unseen[str(kind)]))] for kind in kinds]
        mixes.append(Case(_asked(wanted, rng), tuple(wanted)))
    return alone + mixes


def understanding_cases(rng: np.random.Generator) -> list[Case]:
    """Every held-out combination shown: pictures once, clips twice, sounds at each note of their register."""
    repeats = {"image": 1, "audio": 5, "video": 2}
    return [
        Case(str(rng.choice(_QUESTIONS[thing.modality])), shown=thing)
        for name in MODALITIES
        for thing in things(name)
        if held_out(thing)
        for _ in range(repeats[name])
    ]


def _asked(wanted: Sequence[Thing], rng: np.random.Generator) -> str:
    wishes = [str(rng.choice(_WISHES[thing.modality])).format(thing.caption) for thing in wanted]
    listed = wishes[0] if len(wishes) == 1 else f"{', '.join(wishes[:-1])} and {wishes[-1]}"
    return str(rng.choice(_OPENINGS)).format(listed)


def attachment(thing: Thing, rng: np.random.Generator) -> Media:
    """The thing as a file, drawn or played a little differently each time."""
    place = (float(rng.normal(0, 1.5)), float(rng.normal(0, 1.5)))
    match thing.modality:
        case "image":
            return encode_picture(pictures.draw(thing.subject, thing.manner, scale=rng.uniform(0.9, 1.1), offset=place))
        case "audio":
            note = int(rng.choice(REGISTERS[thing.manner]))
            return encode_sound(_notes()[thing.subject, thing.manner, note], sounds.RATE)
        case _:
            return encode_clip(clips.draw(thing.subject, thing.manner, offset=place), clips.FRAMES_PER_SECOND)


@cache
def _notes() -> dict[tuple[str, str, int], sounds.Sound]:
    # All notes lie in one file of tens of megabytes.
    return sounds.load()


async def answered(motet: Motet, case: Case, seed: int, rng: np.random.Generator) -> Made:
    """One prompt through the whole system."""
    shown = (attachment(case.shown, rng),) if case.shown else ()
    request = GenerationRequest((Message("user", (*shown, case.text)),), seed=seed)
    texts: list[str] = []
    started: dict[str, PartStarted] = {}
    content: dict[str, bytes] = {}
    begun = time.monotonic()
    async for event in motet.generate(request):
        match event.payload:
            case PartStarted(part_id=part):
                started[part] = event.payload
            case PartDelta(chunk=str() as piece):
                texts.append(piece)
            case PartDelta(part_id=part, chunk=bytes() as piece):
                content[part] = content.get(part, b"") + piece
    parts = sorted((part for part in started.values() if part.part_id in content), key=lambda part: part.index)
    media = tuple((part.modality, Media(part.media_type, content[part.part_id])) for part in parts)
    return Made("".join(texts), media, time.monotonic() - begun)


class Score:
    """Counts how often each figure was right, and remembers what was wrong."""

    def __init__(self) -> None:
        self.right: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.wrong: list[str] = []

    def add(self, figure: str, ok: bool, note: str) -> None:
        """One more judgement."""
        self.asked[figure] += 1
        self.right[figure] += ok
        if not ok:
            self.wrong.append(f"{figure}: {note}")

    def figures(self) -> dict[str, float]:
        """Each figure's share of right answers."""
        return {name: round(self.right[name] / self.asked[name], 4) for name in BARS if self.asked[name]}


class Judge:
    """Compares what came with what was wanted."""

    def __init__(self, eyes: oracles.Oracles, score: Score) -> None:
        self._eyes = eyes
        self._score = score
        self.samples: list[NDArray[np.uint8]] = []

    async def generated(self, case: Case, made: Made) -> None:
        """Judge an answer that should hold media."""
        kinds = [modality for modality, _ in made.media]
        wanted = [thing.modality for thing in case.wanted]
        self._score.add("modalities", kinds == wanted, f"{case.text} -> {kinds}")
        left = list(made.media)
        for thing in case.wanted:
            match = next((item for item in left if item[0] == thing.modality), None)
            if match:
                left.remove(match)
            await self._media(thing, match[1] if match else None)

    def understood(self, case: Case, made: Made) -> None:
        """Judge a description: both attributes must be named."""
        assert case.shown
        ok = case.shown.subject in made.text and case.shown.manner in made.text and not made.media
        note = f"{case.shown.caption} -> {made.text}"
        self._score.add(f"{_NOUNS[case.shown.modality]} understood", ok, note)

    async def _media(self, thing: Thing, media: Media | None) -> None:
        seen: dict[str, str] = {}
        if media is not None:
            seen = await getattr(self, f"_{_NOUNS[thing.modality]}")(media)
        figures = {
            "image": (("picture noun", thing.subject), ("picture background", thing.manner)),
            "audio": (("sound instrument", thing.subject), ("sound register", thing.manner)),
            "video": (("clip motion", thing.manner), ("clip noun", thing.subject)),
        }
        for figure, wanted in figures[thing.modality]:
            got = seen.get(figure, "nothing")
            self._score.add(figure, got == wanted, f"{thing.caption} -> {got}")

    async def _picture(self, media: Media) -> dict[str, str]:
        picture = await decode_picture(media)
        self.samples.append(picture)
        return {"picture noun": self._eyes.noun(picture), "picture background": oracles.background(picture)}

    async def _sound(self, media: Media) -> dict[str, str]:
        sound, rate = await decode_sound(media)
        return {
            "sound instrument": self._eyes.instrument(sound, rate),
            "sound register": oracles.register(sound, rate),
        }

    async def _clip(self, media: Media) -> dict[str, str]:
        frames, _ = await decode_clip(media)
        middle = frames[len(frames) // 2]
        self.samples.append(middle)
        return {"clip motion": oracles.motion(frames), "clip noun": self._eyes.noun(middle)}


async def _answers(
    motet: Motet, cases: Sequence[Case], rng: np.random.Generator, concurrency: int
) -> AsyncIterator[tuple[Case, Made]]:
    """The answers in the order of the cases, a few at work at a time."""
    gate = asyncio.Semaphore(concurrency)
    seeds = [np.random.default_rng(int(seed)) for seed in rng.integers(2**32, size=len(cases))]

    async def one(number: int) -> Made:
        async with gate:
            return await answered(motet, cases[number], number, seeds[number])

    tasks = [asyncio.create_task(one(number)) for number in range(len(cases))]
    for case, task in zip(cases, tasks, strict=True):
        try:
            yield case, await task
        except MotetError as error:
            print(f"\n{case.text}: {error.reason}: {error.message}", file=sys.stderr)
            yield case, Made("", (), 0.0)


def sheet(drawn: Sequence[NDArray[np.uint8]], columns: int = 16) -> NDArray[np.uint8]:
    """Pictures of one size side by side; the last row is filled up with white."""
    blank = np.full_like(drawn[0], 255)
    filled = [*drawn, *[blank] * (-len(drawn) % columns)]
    rows = [np.concatenate(filled[at : at + columns], axis=1) for at in range(0, len(filled), columns)]
    return np.concatenate(rows)


async def evaluate(arguments: argparse.Namespace) -> dict[str, object]:
    """Run all cases and return the figures."""
    rng = np.random.default_rng(arguments.seed)
    generation, understanding = generation_cases(rng), understanding_cases(rng)
    cases = (generation + understanding)[:: arguments.every]
    score = Score()
    judge = Judge(oracles.Oracles(arguments.oracles), score)
    begun = time.monotonic()
    async with embedded(Factory.of_bundle(open_bundle(arguments.bundle))) as motet:
        async for case, made in _answers(motet, cases, rng, arguments.concurrency):
            if case.shown:
                judge.understood(case, made)
            else:
                await judge.generated(case, made)
            print(f"\r{sum(score.asked.values())} judgements", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if arguments.samples:
        pictures.save(sheet(judge.samples[:160]), arguments.samples)
    return {
        "bundle": arguments.bundle,
        "prompts": {
            "generation": sum(not case.shown for case in cases),
            "understanding": sum(bool(case.shown) for case in cases),
        },
        "figures": score.figures()
        | {"clip noun": round(score.right["clip noun"] / max(1, score.asked["clip noun"]), 4)},
        "judged": dict(score.asked),
        "bars": BARS,
        "passed": all(value >= BARS[name] for name, value in score.figures().items()),
        "seconds": round(time.monotonic() - begun, 1),
        "wrong": score.wrong,
    }


def main() -> int:
    """Evaluate, print, and exit 1 when a figure misses its bar."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", default="nano", help="a bundle's name or folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth case only, for a quick look")
    parser.add_argument("--seed", type=int, default=0, help="decides wordings, mixes and media")
    parser.add_argument("--concurrency", type=int, default=2, help="prompts at work at a time")
    parser.add_argument("--oracles", type=Path, default=Path("build/oracles"), help="where the oracles are kept")
    parser.add_argument("--samples", type=Path, help="write a sheet of the pictures made to this PNG")
    arguments = parser.parse_args()
    report = asyncio.run(evaluate(arguments))
    if arguments.json:
        print(json.dumps(report, indent=1))
        return 0 if report["passed"] else 1
    figures, judged = report["figures"], report["judged"]
    assert isinstance(figures, dict)
    assert isinstance(judged, dict)
    for name, value in figures.items():
        bar = f"bar {BARS[name]:.0%}" if name in BARS else "no bar"
        print(f"{name:20} {value:7.1%}   {bar}, {judged[name]} judged")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
