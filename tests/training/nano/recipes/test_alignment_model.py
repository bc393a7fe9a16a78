from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from motet.core.bundle import Bundle
from motet.core.signals import Grammar
from motet.models.llm.loading import load_llama, load_tokenizer
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.data.token_batches import DialogueTokenizer, batch
from motet.training.nano.dialogues.dialogues import DialogueGenerator
from motet.training.nano.recipes.alignment_model import RUNS, AlignmentModel, nano_projections, taught
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import MODALITIES, Thing, impartial, nameless, things
from motet.training.stages import STAGES, TrainingStage
from tests.models.llm.reading import read
from tests.models.tiny_bundle import WIDTH, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


def student_of(bundle: Bundle) -> AlignmentModel:
    torch.manual_seed(0)
    base = LlamaForCausalLM.from_pretrained(bundle.path("llm"))
    grammar = Grammar.following(bundle.manifest.language_model.first_control + 2, RUNS)
    return AlignmentModel(base, grammar, nano_projections(WIDTH, base.config.hidden_size))


def bank() -> EmbeddingBank:
    kinds = (things, nameless, impartial)
    every = [thing for modality in MODALITIES for kind in kinds for thing in kind(modality)]
    return EmbeddingBank({f"{t.modality}/{t.subject}/{t.manner}": torch.randn(2, WIDTH) for t in every})


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_moves_its_own_parts_and_nothing_else(bundle: Bundle, stage: TrainingStage) -> None:
    student = student_of(bundle)
    student.learn(stage.parts)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    writer = DialogueTokenizer(load_tokenizer(bundle), student.grammar, bundle.manifest.language_model.first_control)
    # A mixed dialogue attaches media and asks for some, so every part has something to learn from.
    scribe, scene = DialogueGenerator(), "mixed" if "mixed" in stage.scenes else next(iter(stage.scenes))

    optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], 0.1)
    drawn = batch(lambda draw: writer.row(scribe.dialogue(draw, scene)), 3000, 1000, np.random.default_rng(0))
    torch.stack(list(student.losses(drawn, bank()).values())).sum().backward()
    optimizer.step()

    moved = {name for name, value in student.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    words = {"embed_tokens", "lm_head"}
    assert any(any(word in name for word in words) for name in moved)
    assert any("lora_" in name for name in moved) == ("lora" in stage.parts)
    assert any("llama_proj" in name for name in moved) == ("inputs" in stage.parts)
    assert any("outputs." in name for name in moved) == ("outputs" in stage.parts)
    assert not any("mlp" in name or "base_layer" in name for name in moved)


def test_what_is_exported_is_what_the_server_loads(bundle: Bundle, tmp_path: Path) -> None:
    student = student_of(bundle).eval()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    served = tiny_bundle(tmp_path / "served")
    student.export(served.path("lora"), served.path("projections"))
    signals = {name: {"token": f"[{name}{{i}}]", "run": run, "decoder": "image"} for name, run in RUNS.items()}
    manifest = served.manifest.model_copy(
        update={
            "signals": type(served.manifest).model_validate(served.manifest.model_dump() | {"signals": signals}).signals
        }
    )
    llama = load_llama(Bundle(served.folder, manifest, ""))
    ids = torch.tensor([1, 5, 9, *student.grammar.run_of("image").ids])

    said = read(llama, llama.embed(ids.tolist()))
    with torch.no_grad():
        expected = student.language(input_ids=ids[None]).logits[0, -1]

    # The files are in half precision.
    torch.testing.assert_close(said.logits, expected, atol=0.05, rtol=0.05)


def test_projections_are_taught_what_the_decoders_hear() -> None:
    for thing in (Thing("image", "dog", "blue"), Thing("audio", "harp", "low"), Thing("video", "bee", "growing")):
        torch.testing.assert_close(taught(thing), caption_encoder.encode(thing.modality, [thing.caption]))
