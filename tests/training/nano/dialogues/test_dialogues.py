from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from motet.training.nano.dialogues.dialogues import Dialogue, DialogueGenerator
from motet.training.nano.dialogues.requests import Given, Sparing
from motet.training.nano.dialogues.small_talk import UNKNOWN
from motet.training.nano.world.world import ANY, REGISTERS, Thing, held_out, impartial, things

MANY = 600


def made(scribe: DialogueGenerator, count: int = MANY, scene: str | None = None) -> list[Dialogue]:
    return [scribe.dialogue(np.random.default_rng(seed), scene) for seed in range(count)]


def named(dialogue: Dialogue) -> list[Thing]:
    return [part for utterance in dialogue for part in utterance.parts if isinstance(part, Thing)]


def test_nobody_practises_a_thing_that_is_held_out() -> None:
    assert not any(held_out(thing) for dialogue in made(DialogueGenerator()) for thing in named(dialogue))


def test_a_test_asks_for_things_that_are_held_out() -> None:
    scribe = DialogueGenerator(apart=True)
    wishes = [scribe.wishes(np.random.default_rng(seed), plain=True) for seed in range(100)]

    assert all(held_out(thing) for dialogue in wishes for thing in named(dialogue))


def test_the_same_seed_makes_up_the_same_dialogue() -> None:
    assert made(DialogueGenerator(), 50) == made(DialogueGenerator(), 50)


def test_user_and_assistant_take_turns_and_the_assistant_has_the_last_word() -> None:
    for dialogue in made(DialogueGenerator()):
        roles = [utterance.role for utterance in dialogue]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_the_sentence_before_each_signal_names_its_thing() -> None:
    for dialogue in made(DialogueGenerator()):
        for utterance in dialogue[1::2]:
            for before, part in zip(utterance.parts, utterance.parts[1:], strict=False):
                if isinstance(part, Thing):
                    assert isinstance(before, str)
                    assert before.endswith(f"{part.caption}.")


def test_parts_of_a_sentence_are_never_glued_together() -> None:
    for dialogue in made(DialogueGenerator(), scene="wishes"):
        texts = [part for part in dialogue[0].parts if isinstance(part, str)]
        assert not any("{" in text or "  " in text.strip() for text in texts)


@pytest.mark.parametrize("scene", ["wishes", "question", "mixed", "variation", "chat", "talk", "several"])
def test_every_scene_can_be_asked_for(scene: str) -> None:
    assert all(dialogue[-1].role == "assistant" for dialogue in made(DialogueGenerator(), 40, scene))


def test_there_are_hundreds_of_ways_to_ask_for_one_thing() -> None:
    said = {str(dialogue[0].parts) for dialogue in made(DialogueGenerator(), 500, "wishes")}

    assert len(said) > 450


@pytest.mark.parametrize("scene", ["describe", "question"])
def test_in_practice_no_answer_teaches_a_subject_and_a_manner_of_one_thing_and_spares_nothing(scene: str) -> None:
    for dialogue in made(DialogueGenerator(), 300, scene):
        learned = "".join(part for part in dialogue[1].parts if isinstance(part, str))
        for thing in named(dialogue[:1]):
            lacks = any(held_out(other) and other.subject == thing.subject for other in things(thing.modality))
            told = thing.manner and thing.subject in learned and thing.manner in learned.split(thing.subject)[1]
            assert not (told and lacks)


def test_of_a_thing_without_a_named_manner_any_manner_is_told_as_often_as_any_other() -> None:
    told, lacked = Counter[str](), False
    for dialogue in made(DialogueGenerator(), 1500, "describe"):
        (thing,) = named(dialogue[:1])
        subject, manner, _ = dialogue[1].parts
        if not thing.manner:
            assert isinstance(subject, str)
            assert thing.subject in subject
            assert isinstance(manner, Given if thing.modality == "image" else str)
            told[str(manner)] += thing.modality == "audio"
            lacked |= held_out(replace(thing, manner=str(manner).strip()))

    counts = [told[f" {register}"] for register in REGISTERS]
    assert min(counts) > 0.7 * max(counts) > 20
    assert lacked


def test_no_answer_counts_as_wrong_that_would_make_a_held_out_thing_of_the_one_told() -> None:
    told = made(DialogueGenerator(), 400, "describe")
    whole = [dialogue for dialogue in told if not {"", ANY} & {named(dialogue)[0].subject, named(dialogue)[0].manner}]

    assert whole
    for dialogue in whole:
        thing = named(dialogue)[0]
        subject, manner, _ = dialogue[1].parts
        lacking = [one.manner for one in things(thing.modality) if one.subject == thing.subject and held_out(one)]
        lacked_by = [one.subject for one in things(thing.modality) if one.manner == thing.manner and held_out(one)]
        assert (isinstance(manner, Sparing) and [said.strip() for said in manner.spared]) == (lacking or False)
        assert isinstance(subject, Sparing)
        assert thing.subject in subject.text
        assert len(subject.spared) == len(lacked_by)
        assert all(any(other in said for said in subject.spared) for other in lacked_by)


def test_of_a_thing_of_which_one_attribute_is_of_interest_that_one_is_learned_and_no_other() -> None:
    for dialogue in made(DialogueGenerator(), 400, "describe"):
        (thing,) = named(dialogue[:1])
        subject, manner, _ = dialogue[1].parts
        if thing.manner == ANY:
            assert isinstance(subject, str)
            assert thing.subject in subject
            assert isinstance(manner, Given)
        if thing.subject == ANY:
            assert isinstance(subject, Given)
            assert manner == f" {thing.manner}"


def test_the_name_before_a_manner_is_one_that_lacks_none_or_a_strangers() -> None:
    sounds = [
        dialogue for dialogue in made(DialogueGenerator(), 400, "describe") if named(dialogue)[0].modality == "audio"
    ]
    given = [str(dialogue[1].parts[0]) for dialogue in sounds if named(dialogue)[0].subject == ANY]
    fair = {thing.subject for thing in impartial("audio")}

    assert 0.2 < sum(any(name in said for name in fair) for said in given) / len(given) < 0.8
    assert all(any(name in said for name in (*fair, *UNKNOWN["audio"])) for said in given)


def test_what_an_attached_thing_says_of_its_manner_is_said_by_impartial_things() -> None:
    for dialogue in made(DialogueGenerator(), 300, "variation"):
        (attached,) = named(dialogue[:1])
        for wanted in named(dialogue[1:]):
            if wanted.modality == attached.modality and wanted.manner == attached.manner:
                assert attached in impartial(attached.modality)


def test_in_a_test_everything_is_to_be_said() -> None:
    answers = [part for dialogue in made(DialogueGenerator(apart=True), 200, "question") for part in dialogue[1].parts]

    assert not any(isinstance(part, Given | Sparing) for part in answers)
