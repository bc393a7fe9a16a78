"""The kinds of dialogue about several turns or several media."""

from __future__ import annotations

import re
from collections import Counter
from string import ascii_lowercase

import numpy as np
import pytest

from motet.training.nano.dialogues.dialogue import ContextText, Dialogue, plain_text
from motet.training.nano.dialogues.generator import DialogueGenerator
from motet.training.nano.dialogues.kinds.edge_phrases import FILM_REQUESTS, NO_FILM, NO_PICTURE
from motet.training.nano.dialogues.kinds.edges import EdgeDialogues
from motet.training.nano.dialogues.kinds.negations import NOTHING_WANTED
from motet.training.nano.dialogues.kinds.own_work import NOTHING_MADE
from motet.training.nano.dialogues.mixture import SHARES, DialogueMixture
from motet.training.nano.dialogues.phrases import MOTION_VERBS, MOTION_WORDS
from motet.training.nano.dialogues.refusals import REFUSALS
from motet.training.nano.dialogues.requests import MediaRequest, combined_prompt
from motet.training.nano.dialogues.unknown_things import new_word, unknown_subject
from motet.training.nano.world.world import FILM, INSTRUMENTS, NOUNS, Thing, with_article

FOURTH = ("requests", "question", "mixed", "follow_up", "chat", "small_talk", "several")


def dialogues(kind: str, count: int = 150) -> list[Dialogue]:
    mixture = DialogueMixture()
    return [mixture.dialogue(np.random.default_rng(seed), kind) for seed in range(count)]


def made_in(dialogue: Dialogue) -> list[Thing]:
    return [part for utterance in dialogue[1::2] for part in utterance.parts if isinstance(part, Thing)]


def last_text(dialogue: Dialogue) -> str:
    return "".join(plain_text(part) for part in dialogue[-1].parts if not isinstance(part, Thing))


def test_the_kinds_of_the_fourth_edition_have_more_than_half_of_all_dialogues() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)
    assert sum(SHARES[kind] for kind in FOURTH) > 0.55


@pytest.mark.parametrize("kind", ["edges", "edge_chat"])
def test_what_an_animation_or_a_film_takes_comes_earlier(kind: str) -> None:
    for dialogue in dialogues(kind):
        seen: set[str] = set()
        for utterance in dialogue:
            for part in utterance.parts:
                if isinstance(part, Thing):
                    if part.modality == "animation":
                        assert "image" in seen
                    if part == FILM:
                        assert "audio" in seen
                        assert seen & {"video", "animation"}
                    seen.add(part.modality)


def edge_requests(modality: str) -> list[MediaRequest]:
    edges = EdgeDialogues(DialogueGenerator())
    requests = [request for seed in range(600) for request in edges.requests(np.random.default_rng(seed))[0]]
    return [request for request in requests if request.thing and request.thing.modality == modality]


def test_a_request_of_two_sentences_names_its_motion_in_the_first() -> None:
    requests = [request for request in edge_requests("animation") if re.search(r"[.?] [A-Z]", request.sentence)]

    assert len(requests) > 20
    for request in requests:
        assert request.thing
        wish = re.split(r"[.?]", request.sentence)[0]
        assert any(word in wish for word in MOTION_VERBS[request.thing.manner] + MOTION_WORDS[request.thing.manner])


def test_a_film_is_requested_with_any_verb() -> None:
    known = {word for template in FILM_REQUESTS for word in template.split()}
    verbs = [request.sentence.removeprefix("please ").split()[0] for request in edge_requests("film")]

    assert len(set(verbs) - known) > 10


@pytest.mark.parametrize("kind", ["edges", "edge_chat"])
def test_without_a_picture_or_a_sound_the_answer_is_a_refusal(kind: str) -> None:
    refused = Counter[str]()
    for dialogue in dialogues(kind):
        media = {part.modality for utterance in dialogue for part in utterance.parts if isinstance(part, Thing)}
        text = " ".join(plain_text(part) for utterance in dialogue[1::2] for part in utterance.parts)
        if NO_PICTURE in text:
            refused["picture"] += 1
            assert kind == "edge_chat" or "animation" not in media
        if NO_FILM in text:
            refused["film"] += 1
            assert kind == "edge_chat" or FILM.modality not in media
    assert min(refused["picture"], refused["film"]) >= 3


def test_a_question_about_an_earlier_medium_comes_one_to_six_turns_later() -> None:
    distances = Counter[int]()
    for dialogue in dialogues("later_question", 150):
        assert any(isinstance(part, Thing) for part in dialogue[0].parts)
        assert not any(isinstance(part, Thing) for utterance in dialogue[-2:] for part in utterance.parts)
        distances[len(dialogue) // 2 - 2] += 1

    assert set(distances) == set(range(1, 7))


def test_the_model_does_not_learn_the_first_description_of_a_medium_that_a_later_question_is_about() -> None:
    for dialogue in dialogues("later_question"):
        if any(plain_text(part).startswith(("I see", "I hear")) for part in dialogue[1].parts):
            assert all(isinstance(part, ContextText) for part in dialogue[1].parts)


def test_an_answer_about_own_work_names_only_things_that_the_model_made() -> None:
    named = 0
    for dialogue in dialogues("own_work"):
        made = made_in(dialogue)
        if not made:
            assert last_text(dialogue) == NOTHING_MADE
        elif last_text(dialogue).startswith("That was") and not last_text(dialogue).endswith(("it is.", "it is not.")):
            named += 1
            parts = last_text(dialogue).removeprefix("That was ").removesuffix(".").split(", then ")
            captions = {f"the picture {t.manner}" if t.modality == "animation" else t.caption for t in made}
            assert set(parts) <= captions
    assert named > 50


def test_a_yes_or_no_answer_fits_its_guess() -> None:
    answers, guesses = Counter[str](), list[bool]()
    for kind in ("question", "later_question", "own_work"):
        for dialogue in dialogues(kind, 200):
            match = re.fullmatch(
                r"(An? .+)\? (?:I see|I hear|That was) (an? .+)\. (Yes, it is|No, it is not)\.", last_text(dialogue)
            )
            if match:
                guess, subject, answer = match.groups()
                answers[answer.partition(",")[0]] += 1
                assert (guess.lower() == subject) == answer.startswith("Yes")
                prompt = " ".join(plain_text(part) for part in dialogue[-2].parts if isinstance(part, str)).lower()
                guesses.append(f" {guess.lower()}" in f" {re.sub('[?.,]', ' ', prompt)} ")
    # A typing error can change the name in the prompt.
    assert sum(guesses) > 0.8 * len(guesses)
    assert 0.6 < answers["Yes"] / answers["No"] < 1.7


def test_several_yes_or_no_questions_about_one_medium_have_both_answers() -> None:
    lengths, verdicts = Counter[int](), Counter[bool]()
    for dialogue in dialogues("checks"):
        (thing,) = (part for part in dialogue[0].parts if isinstance(part, Thing))
        lengths[len(dialogue) // 2] += 1
        for utterance in dialogue[1::2]:
            answer = plain_text(utterance.parts[0])
            guess, _, rest = answer.partition("? ")
            yes = rest.endswith("Yes, it is.")
            verdicts[yes] += 1
            assert thing.subject in rest
            assert yes == (guess.lower() == with_article(thing.subject))

    assert set(lengths) == set(range(1, 6))
    assert 0.6 < verdicts[True] / verdicts[False] < 1.7


def test_an_excluded_thing_or_modality_is_not_made() -> None:
    nothing = 0
    for dialogue in dialogues("negation"):
        if last_text(dialogue) == NOTHING_WANTED:
            nothing += 1
            assert not made_in(dialogue)
    assert 20 < nothing < 60


def test_many_requests_have_as_many_media_as_sentences() -> None:
    counts = Counter[int]()
    for dialogue in dialogues("many"):
        counts[len(made_in(dialogue))] += 1
        assert last_text(dialogue).count(".") == len(made_in(dialogue))

    assert counts[5] + counts[6] > 45
    assert counts[2] > 5


def test_the_share_of_lists_in_one_sentence_can_be_chosen() -> None:
    requests = [MediaRequest(f"make number {n}", f"the number {n}", "Here.", None) for n in range(5)]

    def lists(entries: float) -> float:
        prompts = [combined_prompt(requests, np.random.default_rng(seed), entries) for seed in range(100)]
        return float(np.mean([all(request.entry in prompt.lower() for request in requests) for prompt in prompts]))

    assert lists(1) == 1
    assert lists(0) == 0
    assert 0.4 < lists(0.55) < 0.7


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_an_unknown_subject_is_not_a_subject_of_the_world(modality: str) -> None:
    known = {"image": set(NOUNS), "audio": set(INSTRUMENTS), "video": set()}[modality]
    unknown = {unknown_subject(modality, np.random.default_rng(seed)) for seed in range(300)}

    assert not unknown & known
    assert len(unknown) > 100
    if modality == "image":
        assert sum(name.partition(" ")[2] in NOUNS for name in unknown) > 30


def test_new_words_have_all_letters_and_are_short_enough_to_read() -> None:
    words = [new_word(np.random.default_rng(seed)) for seed in range(500)]

    assert set("".join(words)) == set(ascii_lowercase)
    assert len(set(words)) > 490
    assert 4 < np.mean([len(word) for word in words]) < 10


def test_requests_for_unknown_subjects_are_refused() -> None:
    texts = [last_text(dialogue) for dialogue in dialogues("requests", 300)]

    assert sum(any(refusal in text for refusal in REFUSALS.values()) for text in texts) > 30
