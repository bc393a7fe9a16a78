from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from motet.training.nano.dialogues.dialogue import ContextText, Dialogue, TextWithAlternatives
from motet.training.nano.dialogues.mixture import DialogueMixture
from motet.training.nano.dialogues.refusals import UNKNOWN_SUBJECTS
from motet.training.nano.world.world import ANY, REGISTERS, Thing, held_out, things, unbiased_things

MANY = 600


def dialogues(generator: DialogueMixture, count: int = MANY, kind: str | None = None) -> list[Dialogue]:
    return [generator.dialogue(np.random.default_rng(seed), kind) for seed in range(count)]


def things_in(dialogue: Dialogue) -> list[Thing]:
    return [part for utterance in dialogue for part in utterance.parts if isinstance(part, Thing)]


def test_training_dialogues_contain_no_held_out_thing() -> None:
    assert not any(held_out(thing) for dialogue in dialogues(DialogueMixture()) for thing in things_in(dialogue))


def test_test_dialogues_request_held_out_things() -> None:
    generator = DialogueMixture(test_split=True)
    requests = [generator.generator.requests(np.random.default_rng(seed), complete=True) for seed in range(100)]

    assert all(held_out(thing) for dialogue in requests for thing in things_in(dialogue))


def test_the_same_seed_gives_the_same_dialogue() -> None:
    assert dialogues(DialogueMixture(), 50) == dialogues(DialogueMixture(), 50)


def test_user_and_assistant_alternate_and_the_assistant_is_last() -> None:
    for dialogue in dialogues(DialogueMixture()):
        roles = [utterance.role for utterance in dialogue]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_the_sentence_before_each_signal_names_its_thing() -> None:
    for dialogue in dialogues(DialogueMixture()):
        for utterance in dialogue[1::2]:
            for before, part in zip(utterance.parts, utterance.parts[1:], strict=False):
                if isinstance(part, Thing):
                    assert isinstance(before, str)
                    assert before.endswith(f"{part.manner if part.modality == 'animation' else part.caption}.")


def test_prompts_contain_no_placeholders_and_no_double_spaces() -> None:
    for dialogue in dialogues(DialogueMixture(), kind="requests"):
        texts = [part for part in dialogue[0].parts if isinstance(part, str)]
        assert not any("{" in text or "  " in text.strip() for text in texts)


@pytest.mark.parametrize("kind", ["requests", "question", "mixed", "follow_up", "chat", "small_talk", "several"])
def test_a_dialogue_of_every_kind_ends_with_the_assistant(kind: str) -> None:
    assert all(dialogue[-1].role == "assistant" for dialogue in dialogues(DialogueMixture(), 40, kind))


def test_hundreds_of_prompts_are_different() -> None:
    prompts = {str(dialogue[0].parts) for dialogue in dialogues(DialogueMixture(), 500, "requests")}

    assert len(prompts) > 450


@pytest.mark.parametrize("kind", ["describe", "question"])
def test_no_training_answer_teaches_both_attributes_of_a_thing_without_alternatives(kind: str) -> None:
    for dialogue in dialogues(DialogueMixture(), 300, kind):
        learned = "".join(part for part in dialogue[1].parts if isinstance(part, str))
        for thing in things_in(dialogue[:1]):
            biased = any(held_out(other) and other.subject == thing.subject for other in things(thing.modality))
            both = thing.manner and thing.subject in learned and thing.manner in learned.split(thing.subject)[1]
            assert not (both and biased)


def test_things_without_a_manner_are_described_with_all_manners_equally_often() -> None:
    counts, some_held_out = Counter[str](), False
    for dialogue in dialogues(DialogueMixture(), 1500, "describe"):
        (thing,) = things_in(dialogue[:1])
        subject, manner, _ = dialogue[1].parts
        if not thing.manner:
            assert isinstance(subject, str)
            assert thing.subject in subject
            assert isinstance(manner, ContextText if thing.modality == "image" else str)
            counts[str(manner)] += thing.modality == "audio"
            some_held_out |= held_out(replace(thing, manner=str(manner).strip()))

    by_register = [counts[f" {register}"] for register in REGISTERS]
    assert min(by_register) > 0.7 * max(by_register) > 20
    assert some_held_out


def test_texts_about_held_out_things_are_alternatives_in_a_complete_description() -> None:
    complete = [
        dialogue
        for dialogue in dialogues(DialogueMixture(), 400, "describe")
        if not {"", ANY} & {things_in(dialogue)[0].subject, things_in(dialogue)[0].manner}
    ]

    assert complete
    for dialogue in complete:
        thing = things_in(dialogue)[0]
        subject, manner, _ = dialogue[1].parts
        excluded = [other for other in things(thing.modality) if held_out(other)]
        manners = [other.manner for other in excluded if other.subject == thing.subject]
        subjects = [other.subject for other in excluded if other.manner == thing.manner]
        has_alternatives = isinstance(manner, TextWithAlternatives)
        assert (has_alternatives and [text.strip() for text in manner.alternatives]) == (manners or False)
        assert isinstance(subject, TextWithAlternatives)
        assert thing.subject in subject.text
        assert len(subject.alternatives) == len(subjects)
        assert all(any(other in text for text in subject.alternatives) for other in subjects)


def test_if_one_attribute_is_any_only_the_other_one_is_learned() -> None:
    for dialogue in dialogues(DialogueMixture(), 400, "describe"):
        (thing,) = things_in(dialogue[:1])
        subject, manner, _ = dialogue[1].parts
        if thing.manner == ANY:
            assert isinstance(subject, str)
            assert thing.subject in subject
            assert isinstance(manner, ContextText)
        if thing.subject == ANY:
            assert isinstance(subject, ContextText)
            assert manner == f" {thing.manner}"


def test_the_subject_before_a_learned_manner_is_unbiased_or_unknown() -> None:
    sounds = [
        dialogue
        for dialogue in dialogues(DialogueMixture(), 400, "describe")
        if things_in(dialogue)[0].modality == "audio"
    ]
    contexts = [str(dialogue[1].parts[0]) for dialogue in sounds if things_in(dialogue)[0].subject == ANY]
    unbiased = {thing.subject for thing in unbiased_things("audio")}

    assert 0.2 < sum(any(name in text for name in unbiased) for text in contexts) / len(contexts) < 0.8
    assert all(any(name in text for name in (*unbiased, *UNKNOWN_SUBJECTS["audio"])) for text in contexts)


def test_in_a_follow_up_that_keeps_the_manner_the_attached_thing_is_unbiased() -> None:
    for dialogue in dialogues(DialogueMixture(), 300, "follow_up"):
        (attached,) = things_in(dialogue[:1])
        for requested in things_in(dialogue[1:]):
            if requested.modality == attached.modality and requested.manner == attached.manner:
                assert attached in unbiased_things(attached.modality)


def test_test_answers_are_plain_text() -> None:
    questions = dialogues(DialogueMixture(test_split=True), 200, "question")

    assert not any(
        isinstance(part, ContextText | TextWithAlternatives) for dialogue in questions for part in dialogue[1].parts
    )
