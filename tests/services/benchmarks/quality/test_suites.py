"""The suites of the nano evaluation, and their judge. No bundle and no data package is needed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import numpy as np
import pytest

from motet.core.events import PlanInput, PlanNode
from motet.core.media import Media
from motet.media.encode import encode_clip
from motet.training.nano.dialogues import questions
from motet.training.nano.dialogues.kinds import own_work
from motet.training.nano.dialogues.mixture import SHARES, DialogueMixture
from motet.training.nano.world.world import FILM, MODALITIES, Thing, held_out
from services.benchmarks.quality import conversation_suites
from services.benchmarks.quality.conversation_suites import conversation_cases
from services.benchmarks.quality.edge_suites import edge_cases
from services.benchmarks.quality.judge import BARS, JudgementCounts
from services.benchmarks.quality.nano_eval import suite_cases
from services.benchmarks.quality.oracles import Oracles, corner_background, motion
from services.benchmarks.quality.suite import SuiteCase, promises
from services.benchmarks.quality.suite_judge import ConversationAnswer, SuiteJudge, has_both_streams

SIGNALS = (*MODALITIES, "animation", "film")
PICTURE, CLIP, SOUND = Thing("image", "dog", "red"), Thing("video", "bee", "growing"), Thing("audio", "harp", "low")


def cases() -> list[SuiteCase]:
    rng = np.random.default_rng(0)
    return edge_cases(rng) + conversation_cases(rng)


def judged(case: SuiteCase, answer: ConversationAnswer) -> dict[str, float]:
    counts = JudgementCounts()
    asyncio.run(SuiteJudge(cast("Oracles", None), counts).judge(case, answer))
    return counts.figures()


def answer(text: str, *nodes: PlanNode) -> ConversationAnswer:
    return ConversationAnswer(text, nodes, tuple((node.modality, Media("image/png", b"")) for node in nodes))


def test_every_suite_has_a_bar_and_several_cases() -> None:
    counts = Counter(case.figure for case in cases())

    assert set(counts) <= set(BARS)
    assert min(counts.values()) >= 10


def test_the_things_of_the_suites_are_held_out() -> None:
    for case in cases():
        things = [part for turn in case.turns for part in turn if isinstance(part, Thing)] + list(case.expected)
        for thing in things:
            biased = thing.modality in MODALITIES and thing != Thing("audio", "violin", "middle")
            assert held_out(thing) or not biased


def test_no_yes_or_no_question_of_a_suite_is_a_phrase_of_the_training() -> None:
    trained = {*questions.CHECKS, *own_work._CHECKS}

    assert not {phrase.lower() for phrase in conversation_suites.CHECKS} & {phrase.lower() for phrase in trained}


def test_no_prompt_of_a_suite_is_in_the_training_dialogues() -> None:
    mixture = DialogueMixture()
    trained = {
        part.lower()
        for kind in SHARES
        for seed in range(60)
        for utterance in mixture.dialogue(np.random.default_rng(seed), kind)
        for part in utterance.parts
        if isinstance(part, str)
    }
    prompts = {part.lower() for case in cases() for part in case.turns[-1] if isinstance(part, str)}

    assert not prompts & trained


def test_a_bundle_without_edges_skips_their_figures() -> None:
    chosen, skipped = suite_cases(np.random.default_rng(0), MODALITIES)

    assert not any("animation" in case.signals for case in chosen)
    assert {"plan with edges", "film streams", "nothing to take refused"} < set(skipped)
    assert suite_cases(np.random.default_rng(0), SIGNALS)[1] == []


def test_each_announced_medium_counts() -> None:
    assert promises("Here is a dog on a red background. And this is a low note on a harp.") == 2
    assert promises("You named no motion, so here it is growing.") == 1
    assert promises("I see a dog. The background is red. Yes, it is a dog.") == 0


def test_an_answer_is_right_if_its_plan_and_its_edges_are() -> None:
    case = SuiteCase("plan with edges", (("Do it.",),), (CLIP, SOUND, FILM), ((), (), (0, 1)))
    clip, sound = PlanNode("parts/a", "video"), PlanNode("parts/b", "audio")
    right = PlanNode("parts/c", "film", (PlanInput("video", "parts/a"), PlanInput("audio", "parts/b")))
    wrong = PlanNode("parts/c", "film", (PlanInput("audio", "parts/b"), PlanInput("video", "parts/a")))

    assert judged(case, answer("Here.", clip, sound, right))["plan with edges"] == 1
    assert judged(case, answer("Here.", clip, sound, wrong))["plan with edges"] == 0
    assert judged(case, answer("Here.", sound, clip, right))["plan with edges"] == 0
    assert judged(case, answer("", clip, sound, right))["plan with edges"] == 0


def test_a_promise_without_its_medium_is_wrong() -> None:
    case = SuiteCase("five things", (("Draw two.",),), (PICTURE,))

    figures = judged(case, answer("Here is a dog. And here is a dog.", PlanNode("parts/a", "image")))

    assert figures == {"five things": 1, "only made media promised": 0}


@pytest.mark.parametrize(("text", "right"), [("Yes, it is a dog.", 1), ("No, it is a dog.", 0)])
def test_the_words_of_an_answer_count(text: str, right: int) -> None:
    case = SuiteCase("yes or no", ((PICTURE, "Is it a dog?"),), words=("Yes",), other_words=("No,",))

    assert judged(case, answer(text))["yes or no"] == right


def test_a_clip_without_a_sound_is_no_film() -> None:
    assert not has_both_streams(encode_clip(np.zeros((8, 64, 64, 3), np.uint8), 4))


def test_the_corners_of_all_frames_show_the_background() -> None:
    frames = np.full((8, 64, 64, 3), (60, 120, 220), np.uint8)
    frames[:, :, 4:60] = 0

    assert corner_background(frames) == "blue"


def test_a_noun_that_grows_by_less_than_the_threshold_is_still() -> None:
    frames = np.full((2, 64, 64, 3), 255, np.uint8)
    frames[0, 12:52, 12:52], frames[1, 8:56, 8:56] = 0, 0

    assert motion(frames, growth=1.3) == "growing"
    assert motion(frames) != "growing"
