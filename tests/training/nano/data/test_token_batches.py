import numpy as np
import pytest
import torch

from motet.core.bundle import Bundle
from motet.core.workers import Embedding, Turn
from motet.models.arrays import from_torch
from motet.models.llm.loading import load_tokenizer
from motet.models.llm.tokenized_prompt import PromptBuilder
from motet.training.nano.data.token_batches import IGNORED, DialogueTokenizer, batch
from motet.training.nano.dialogues.dialogues import Dialogue, DialogueGenerator, Utterance
from motet.training.nano.dialogues.requests import Given, Sparing
from motet.training.nano.world.world import Thing
from tests.models.tiny_bundle import WIDTH, tiny_bundle

BLUE_DOG = Thing("image", "dog", "blue")
LOW_HARP = Thing("audio", "harp", "low")
DIALOGUE: Dialogue = (
    Utterance("user", (BLUE_DOG, "What is this? And play a low harp.")),
    Utterance("assistant", ("I see a dog on a blue background.", " And this is a low note on a harp.", LOW_HARP)),
    Utterance("user", ("Thanks!",)),
    Utterance("assistant", ("You are welcome!",)),
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def writer(bundle: Bundle) -> DialogueTokenizer:
    manifest = bundle.manifest
    return DialogueTokenizer(load_tokenizer(bundle), manifest.grammar, manifest.language_model.first_control)


def test_a_dialogue_is_written_in_training_as_it_is_in_serving(bundle: Bundle, writer: DialogueTokenizer) -> None:
    control = bundle.manifest.language_model.first_control
    scriptwriter = PromptBuilder(load_tokenizer(bundle), bundle.manifest.grammar, control, control - 2, WIDTH)
    vector = from_torch(torch.zeros(WIDTH))
    turns = [
        Turn(u.role, tuple(p if isinstance(p, str) else Embedding(p.modality, vector) for p in u.parts))
        for u in DIALOGUE
    ]

    row = writer.row(DIALOGUE)
    script = scriptwriter.write(turns[:-1], 1000)

    length = len(script.ids)
    assert row.ids[:length] == script.ids.tolist()
    assert [place for place, _ in row.seen] == list(script.places)
    # From there on everything is to be learned.
    assert row.labels[length:] == row.ids[length:]


def test_inside_a_run_the_states_learn_what_it_stands_for(bundle: Bundle, writer: DialogueTokenizer) -> None:
    codec = load_tokenizer(bundle)
    row = writer.row(DIALOGUE)
    ((place, _),) = row.runs

    # The first token is sampled, so it is learned; the others are fed whatever the states would say.
    assert row.labels[place] == row.ids[place]
    assert row.labels[place + 1 : place + 3] == [codec.encode(" harp")[-1], codec.encode(" low")[-1]]


def test_only_what_the_assistant_says_is_learned(bundle: Bundle, writer: DialogueTokenizer) -> None:
    row = writer.row(DIALOGUE)
    codec = load_tokenizer(bundle)
    words = bundle.manifest.language_model.first_control - 2

    learned = codec.decode([label for label, token in zip(row.labels, row.ids, strict=True) if label == token < words])

    assert learned == (
        " I see a dog on a blue background. And this is a low note on a harp.\n### You are welcome!\n###"
    )


def test_given_words_are_read_and_not_learned(writer: DialogueTokenizer) -> None:
    told = (Given("I see a dog"), " on a blue background.")
    given = writer.row((DIALOGUE[0], Utterance("assistant", told)))
    spoken = writer.row((DIALOGUE[0], Utterance("assistant", ("I see a dog", " on a blue background."))))

    assert given.ids == spoken.ids
    assert given.labels.count(IGNORED) > spoken.labels.count(IGNORED)
    assert given.labels[-4:] == spoken.labels[-4:]


def test_what_is_spared_stands_where_the_two_sayings_part(bundle: Bundle, writer: DialogueTokenizer) -> None:
    codec = load_tokenizer(bundle)
    told = (Given("I see a rocket. It is"), Sparing(" moving left", (" moving down",)), ".")

    row = writer.row((DIALOGUE[0], Utterance("assistant", told)))

    ((place, spared),) = row.spared
    left, down = codec.encode(" moving left"), codec.encode(" moving down")
    start = place - next(i for i in range(len(left)) if left[i] != down[i])
    assert row.labels[start : start + len(left)] == left
    assert spared == down[place - start]


def test_words_that_open_an_answer_spare_others_that_would_open_it(bundle: Bundle, writer: DialogueTokenizer) -> None:
    codec = load_tokenizer(bundle)
    told = (Sparing("I see a rocket.", ("I see a fish.", "I see an octopus.")),)

    row = writer.row((DIALOGUE[0], Utterance("assistant", told)))

    spoken = codec.encode(" I see a rocket.\n###")
    start = len(row.ids) - len(spoken)
    assert row.labels[start:] == spoken
    for (place, spared), other in zip(row.spared, (" I see a fish.", " I see an octopus."), strict=True):
        ids = codec.encode(other)
        assert ids[: place - start] == spoken[: place - start]
        assert ids[place - start] == spared != spoken[place - start]


def test_runs_are_noted_where_their_first_token_stands(bundle: Bundle, writer: DialogueTokenizer) -> None:
    row = writer.row(DIALOGUE)
    run = list(bundle.manifest.grammar.run_of("audio").ids)

    ((place, thing),) = row.runs
    assert thing == LOW_HARP
    assert row.ids[place : place + len(run)] == run


def test_read_in_words_only_media_are_captions_and_signals_are_left_out(bundle: Bundle) -> None:
    codec = load_tokenizer(bundle)
    row = DialogueTokenizer(codec).row(DIALOGUE)

    assert "(a dog on a blue background)" in codec.decode(row.ids[1:])
    assert not row.seen
    assert not row.runs
    assert max(row.ids[1:]) < len(codec)


def test_a_batch_keeps_to_its_size_and_learns_no_padding(bundle: Bundle) -> None:
    # Pictures and sounds are all that the tiny bundle makes.
    writer, scribe = DialogueTokenizer(load_tokenizer(bundle)), DialogueGenerator()
    for seed in range(5):
        drawn = batch(lambda draw: writer.row(scribe.dialogue(draw)), 4000, 1000, np.random.default_rng(seed))
        assert drawn.ids.numel() <= 4000
        assert (drawn.labels[drawn.ids == 0] == IGNORED).float().mean() > 0.99
        assert (drawn.labels != IGNORED).any(dim=1).all()
