"""Evaluation of the nano bundle: the share of correct responses, judged by `oracles.py`.

    python -m services.benchmarks.quality.nano_eval --json

Every prompt requests, or attaches, combinations of attributes that no part of the bundle was trained on
(`motet.training.nano.world.world.held_out`). The phrases of the prompts were not in the training data either. The whole
system runs, from text to media files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.core.errors import MotetError
from motet.core.events import PartDelta, PartStarted
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet
from motet.training.nano.world import pictures
from services.benchmarks.quality import oracles
from services.benchmarks.quality.cases import EvaluationCase, attachment, generation_cases, understanding_cases
from services.benchmarks.quality.conversation import converse
from services.benchmarks.quality.conversation_suites import conversation_cases
from services.benchmarks.quality.edge_suites import edge_cases
from services.benchmarks.quality.judge import BARS, Judge, JudgedResponse, JudgementCounts
from services.benchmarks.quality.suite import SuiteCase
from services.benchmarks.quality.suite_judge import ConversationAnswer, SuiteJudge
from services.embedded import embedded
from services.factory import Factory, open_bundle


async def generate(motet: Motet, case: EvaluationCase, seed: int, rng: np.random.Generator) -> JudgedResponse:
    """Send the prompt of a case and return the response."""
    attached = (attachment(case.attached, rng),) if case.attached else ()
    request = GenerationRequest((Message("user", (*attached, case.text)),), seed=seed)
    texts: list[str] = []
    started: dict[str, PartStarted] = {}
    content: dict[str, bytes] = {}
    async for event in motet.generate(request):
        match event.payload:
            case PartStarted(part_id=part):
                started[part] = event.payload
            case PartDelta(chunk=str() as text):
                texts.append(text)
            case PartDelta(part_id=part, chunk=bytes() as data):
                content[part] = content.get(part, b"") + data
    parts = sorted((part for part in started.values() if part.part_id in content), key=lambda part: part.index)
    media = tuple((part.modality, Media(part.media_type, content[part.part_id])) for part in parts)
    return JudgedResponse("".join(texts), media)


async def _responses(
    motet: Motet, cases: Sequence[EvaluationCase], rng: np.random.Generator, concurrency: int
) -> AsyncIterator[tuple[EvaluationCase, JudgedResponse]]:
    """Yield the responses in the order of the cases, with `concurrency` requests at a time."""
    slots = asyncio.Semaphore(concurrency)
    rngs = [np.random.default_rng(int(seed)) for seed in rng.integers(2**32, size=len(cases))]

    async def run(number: int) -> JudgedResponse:
        async with slots:
            return await generate(motet, cases[number], number, rngs[number])

    tasks = [asyncio.create_task(run(number)) for number in range(len(cases))]
    for case, task in zip(cases, tasks, strict=True):
        try:
            yield case, await task
        except MotetError as error:
            print(f"\n{case.text}: {error.reason}: {error.message}", file=sys.stderr)
            yield case, JudgedResponse("", ())


def contact_sheet(images: Sequence[NDArray[np.uint8]], columns: int = 16) -> NDArray[np.uint8]:
    """Return pictures of one size in a grid. White pictures fill the last row."""
    blank = np.full_like(images[0], 255)
    padded = [*images, *[blank] * (-len(images) % columns)]
    rows = [np.concatenate(padded[at : at + columns], axis=1) for at in range(0, len(padded), columns)]
    return np.concatenate(rows)


async def _judge_suites(
    motet: Motet, cases: Sequence[SuiteCase], judge: SuiteJudge, rng: np.random.Generator, concurrency: int
) -> None:
    """Hold the conversations, `concurrency` at a time, and judge their last answers."""
    slots = asyncio.Semaphore(concurrency)
    rngs = [np.random.default_rng(int(seed)) for seed in rng.integers(2**32, size=len(cases))]

    async def run(number: int) -> ConversationAnswer:
        async with slots:
            try:
                return await converse(motet, cases[number], number, rngs[number])
            except MotetError as error:
                print(f"\n{cases[number].turns}: {error.reason}: {error.message}", file=sys.stderr)
                return ConversationAnswer("")

    tasks = [asyncio.create_task(run(number)) for number in range(len(cases))]
    for number, (case, task) in enumerate(zip(cases, tasks, strict=True), 1):
        await judge.judge(case, await task)
        print(f"\r{number} conversations", end="", file=sys.stderr, flush=True)


def suite_cases(rng: np.random.Generator, signals: Collection[str]) -> tuple[list[SuiteCase], list[str]]:
    """Return the cases of the suites that a bundle with these signals can have, and the figures without such a case."""
    every = edge_cases(rng) + conversation_cases(rng)
    cases = [case for case in every if case.signals <= set(signals)]
    left_out = {case.figure for case in every} - {case.figure for case in cases}
    if "animation" not in signals:
        left_out |= {"animation noun", "animation motion", "animation background"}
    if "film" not in signals:
        left_out.add("film streams")
    return cases, sorted(left_out)


async def evaluate(arguments: argparse.Namespace) -> dict[str, object]:
    """Run all cases and return the figures."""
    rng = np.random.default_rng(arguments.seed)
    bundle = open_bundle(arguments.bundle)
    generation, understanding = generation_cases(rng), understanding_cases(rng)
    cases = (generation + understanding)[:: arguments.every]
    counts = JudgementCounts()
    suites, skipped = suite_cases(rng, bundle.manifest.signals)
    suites = suites[:: arguments.every]
    if arguments.only == "suites":
        cases = []
    classifiers = oracles.Oracles(arguments.oracles)
    judge, suite_judge = Judge(classifiers, counts), SuiteJudge(classifiers, counts)
    start = time.monotonic()
    async with embedded(Factory.of_bundle(bundle)) as motet:
        async for case, response in _responses(motet, cases, rng, arguments.concurrency):
            if case.attached:
                judge.judge_understanding(case, response)
            else:
                await judge.judge_generation(case, response)
            suite_judge.judge_promises(response.text, len(response.media))
            print(f"\r{sum(counts.total.values())} judgements", end="", file=sys.stderr, flush=True)
        if arguments.only != "single":
            await _judge_suites(motet, suites, suite_judge, rng, arguments.concurrency)
    print(file=sys.stderr)
    if arguments.samples:
        pictures.save(contact_sheet(judge.pictures[:160]), arguments.samples)
    return {
        "bundle": arguments.bundle,
        "prompts": {
            "generation": sum(not case.attached for case in cases),
            "understanding": sum(bool(case.attached) for case in cases),
            "suites": 0 if arguments.only == "single" else len(suites),
        },
        "skipped": skipped,
        "figures": counts.figures(),
        "judged": dict(counts.total),
        "bars": BARS,
        "passed": all(value >= BARS.get(name, 0) for name, value in counts.figures().items()),
        "seconds": round(time.monotonic() - start, 1),
        "wrong": counts.incorrect,
    }


def main() -> int:
    """Evaluate, print the figures, and return 1 if a figure misses its bar."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", default="nano", help="name or folder of a bundle")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--out", type=Path, help="write the JSON document to this file, too")
    parser.add_argument("--only", choices=["single", "suites"], help="run the single prompts or the suites only")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="run every Nth case only")
    parser.add_argument("--seed", type=int, default=0, help="seed of phrases, mixes and media")
    parser.add_argument("--concurrency", type=int, default=2, help="number of requests at a time")
    parser.add_argument("--oracles", type=Path, default=Path("build/oracles"), help="folder of the trained classifiers")
    parser.add_argument("--samples", type=Path, help="write the generated pictures to this PNG file")
    arguments = parser.parse_args()
    report = asyncio.run(evaluate(arguments))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1))
    if arguments.json:
        print(json.dumps(report, indent=1))
        return 0 if report["passed"] else 1
    figures, judged = report["figures"], report["judged"]
    assert isinstance(figures, dict)
    assert isinstance(judged, dict)
    for name, value in figures.items():
        bar = f"bar {BARS[name]:.0%}" if name in BARS else "no bar"
        print(f"{name:26} {value:7.1%}   {bar}, {judged[name]} judged")
    skipped = report["skipped"]
    assert isinstance(skipped, list)
    for name in skipped:
        print(f"{name:26} skipped: the bundle has no such signal")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
