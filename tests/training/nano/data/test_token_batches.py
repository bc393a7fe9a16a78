import numpy as np
import pytest
import torch

from motet.core.bundle import Bundle
from motet.core.workers import Embedding, Turn
from motet.models.arrays import from_torch
from motet.models.llm.loading import load_tokenizer
from motet.models.llm.prompt.prompt_builder import PromptBuilder
from motet.training.nano.data.token_batches import IGNORED, DialogueTokenizer, draw_batch
from motet.training.nano.dialogues.dialogue import ContextText, Dialogue, TextWithAlternatives, Utterance, exchange
from motet.training.nano.dialogues.mixture import DialogueMixture
from motet.training.nano.world.world import Thing, things_of_split
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
def tokenizer(bundle: Bundle) -> DialogueTokenizer:
    manifest = bundle.manifest
    return DialogueTokenizer(load_tokenizer(bundle), manifest.grammar, manifest.language_model.first_control)


def test_training_and_serving_tokenize_a_dialogue_equally(bundle: Bundle, tokenizer: DialogueTokenizer) -> None:
    control = bundle.manifest.language_model.first_control
    builder = PromptBuilder(load_tokenizer(bundle), bundle.manifest.grammar, control, control - 2, WIDTH)
    vector = from_torch(torch.zeros(WIDTH))
    turns = [
        Turn(u.role, tuple(p if isinstance(p, str) else Embedding(p.modality, vector) for p in u.parts))
        for u in DIALOGUE
    ]

    sequence = tokenizer.tokenize(DIALOGUE)
    prompt = builder.build(turns[:-1], 1000)

    length = len(prompt.ids)
    assert sequence.ids[:length] == prompt.ids.tolist()
    assert [place for place, _ in sequence.attachments] == list(prompt.media_positions)
    # All tokens after the prompt have labels.
    assert sequence.labels[length:] == sequence.ids[length:]


def test_the_labels_inside_a_run_are_the_subject_and_the_manner(bundle: Bundle, tokenizer: DialogueTokenizer) -> None:
    text_tokenizer = load_tokenizer(bundle)
    sequence = tokenizer.tokenize(DIALOGUE)
    ((place, _),) = sequence.runs

    # The first token is sampled, so its label is its id. The other tokens of a run are fed without sampling.
    assert sequence.labels[place] == sequence.ids[place]
    assert sequence.labels[place + 1 : place + 3] == [
        text_tokenizer.encode(" harp")[-1],
        text_tokenizer.encode(" low")[-1],
    ]


def test_the_labels_inside_a_run_never_count_a_held_out_thing_as_wrong(
    bundle: Bundle, tokenizer: DialogueTokenizer
) -> None:
    text_tokenizer = load_tokenizer(bundle)
    held = things_of_split("audio", True)[0]
    other = next(thing for thing in things_of_split("audio", False) if thing.subject == held.subject)
    sequence = tokenizer.tokenize(exchange(("go",), (other,)))
    ((place, _),) = sequence.runs
    never, label = (text_tokenizer.encode(f" {thing.manner}")[-1] for thing in (held, other))

    assert sequence.labels[place + 2] == label
    assert (place + 2, never) in sequence.excluded
    assert (place + 2, label) not in sequence.excluded
    assert not any(position == place for position, _ in sequence.excluded), "the first token of a run is sampled"


def test_only_the_assistants_text_has_labels(bundle: Bundle, tokenizer: DialogueTokenizer) -> None:
    sequence = tokenizer.tokenize(DIALOGUE)
    text_tokenizer = load_tokenizer(bundle)
    vocabulary = bundle.manifest.language_model.first_control - 2

    learned = text_tokenizer.decode(
        [label for label, token in zip(sequence.labels, sequence.ids, strict=True) if label == token < vocabulary]
    )

    assert learned == (
        " I see a dog on a blue background. And this is a low note on a harp.\n### You are welcome!\n###"
    )


def test_context_text_has_ids_and_no_labels(tokenizer: DialogueTokenizer) -> None:
    parts = (ContextText("I see a dog"), " on a blue background.")
    context = tokenizer.tokenize((DIALOGUE[0], Utterance("assistant", parts)))
    learned = tokenizer.tokenize((DIALOGUE[0], Utterance("assistant", ("I see a dog", " on a blue background."))))

    assert context.ids == learned.ids
    assert context.labels.count(IGNORED) > learned.labels.count(IGNORED)
    assert context.labels[-4:] == learned.labels[-4:]


def test_the_excluded_id_is_the_first_different_id_of_the_alternative(
    bundle: Bundle, tokenizer: DialogueTokenizer
) -> None:
    text_tokenizer = load_tokenizer(bundle)
    parts = (ContextText("I see a rocket. It is"), TextWithAlternatives(" moving left", (" moving down",)), ".")

    sequence = tokenizer.tokenize((DIALOGUE[0], Utterance("assistant", parts)))

    ((place, excluded),) = sequence.excluded
    left, down = text_tokenizer.encode(" moving left"), text_tokenizer.encode(" moving down")
    start = place - next(i for i in range(len(left)) if left[i] != down[i])
    assert sequence.labels[start : start + len(left)] == left
    assert excluded == down[place - start]


def test_the_first_text_of_an_answer_can_have_several_alternatives(
    bundle: Bundle, tokenizer: DialogueTokenizer
) -> None:
    text_tokenizer = load_tokenizer(bundle)
    parts = (TextWithAlternatives("I see a rocket.", ("I see a fish.", "I see an octopus.")),)

    sequence = tokenizer.tokenize((DIALOGUE[0], Utterance("assistant", parts)))

    learned = text_tokenizer.encode(" I see a rocket.\n###")
    start = len(sequence.ids) - len(learned)
    assert sequence.labels[start:] == learned
    for (place, excluded), other in zip(sequence.excluded, (" I see a fish.", " I see an octopus."), strict=True):
        ids = text_tokenizer.encode(other)
        assert ids[: place - start] == learned[: place - start]
        assert ids[place - start] == excluded != learned[place - start]


def test_the_position_of_a_run_is_that_of_its_first_token(bundle: Bundle, tokenizer: DialogueTokenizer) -> None:
    sequence = tokenizer.tokenize(DIALOGUE)
    run = list(bundle.manifest.grammar.run_of("audio").ids)

    ((place, thing),) = sequence.runs
    assert thing == LOW_HARP
    assert sequence.ids[place : place + len(run)] == run


def test_without_a_grammar_media_are_captions_and_there_are_no_runs(bundle: Bundle) -> None:
    text_tokenizer = load_tokenizer(bundle)
    sequence = DialogueTokenizer(text_tokenizer).tokenize(DIALOGUE)

    assert "(a dog on a blue background)" in text_tokenizer.decode(sequence.ids[1:])
    assert not sequence.attachments
    assert not sequence.runs
    assert max(sequence.ids[1:]) < len(text_tokenizer)


def test_a_batch_has_at_most_its_size_and_padding_has_no_labels(bundle: Bundle) -> None:
    tokenizer, generator = DialogueTokenizer(load_tokenizer(bundle)), DialogueMixture()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        batch = draw_batch(lambda rng: tokenizer.tokenize(generator.dialogue(rng)), 4000, 1000, rng)
        assert batch.ids.numel() <= 4000
        for ids, labels in zip(batch.ids, batch.labels, strict=True):
            assert (labels[int(ids.nonzero().max()) + 1 :] == IGNORED).all()
        assert (batch.labels != IGNORED).any(dim=1).all()
