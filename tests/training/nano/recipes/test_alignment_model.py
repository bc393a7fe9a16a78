import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from motet.core.bundle import Bundle
from motet.core.signals import Grammar
from motet.models.llm.loading import load_llama, load_tokenizer
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.data.token_batches import DialogueTokenizer, draw_batch
from motet.training.nano.dialogues.mixture import DialogueMixture
from motet.training.nano.recipes.alignment_model import (
    RUN_LENGTHS,
    AlignmentModel,
    nano_projections,
    target_conditioning,
)
from motet.training.nano.recipes.stages import STAGES
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import MODALITIES, Thing, things, things_without_manner, unbiased_things
from motet.training.stages import TrainingStage
from tests.models.llm.forwards import run_forward
from tests.models.tiny_bundle import WIDTH, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


def untrained_model(bundle: Bundle) -> AlignmentModel:
    torch.manual_seed(0)
    base = LlamaForCausalLM.from_pretrained(bundle.path("llm"))
    grammar = Grammar.from_lengths(bundle.manifest.language_model.first_control + 2, RUN_LENGTHS)
    return AlignmentModel(base, grammar, nano_projections(WIDTH, base.config.hidden_size))


def random_embeddings() -> EmbeddingBank:
    kinds = (things, things_without_manner, unbiased_things)
    every = [thing for modality in MODALITIES for kind in kinds for thing in kind(modality)]
    return EmbeddingBank({f"{t.modality}/{t.subject}/{t.manner}": torch.randn(2, WIDTH) for t in every})


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_changes_only_its_own_parts(bundle: Bundle, stage: TrainingStage) -> None:
    model = untrained_model(bundle)
    model.train_parts(stage.parts)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tokenizer = DialogueTokenizer(load_tokenizer(bundle), model.grammar, bundle.manifest.language_model.first_control)
    # A mixed dialogue has attached and requested media, so every part has gradients.
    generator = DialogueMixture()
    kind = "mixed" if "mixed" in stage.dialogue_odds else next(iter(stage.dialogue_odds))

    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    batch = draw_batch(
        lambda rng: tokenizer.tokenize(generator.dialogue(rng, kind)), 3000, 1000, np.random.default_rng(0)
    )
    torch.stack(list(model.losses(batch, random_embeddings()).values())).sum().backward()
    optimizer.step()

    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    vocabulary = {"embed_tokens", "lm_head"}
    assert any(any(word in name for word in vocabulary) for name in changed)
    assert any("lora_" in name for name in changed) == ("lora" in stage.parts)
    assert any("llama_proj" in name for name in changed) == ("input_projection" in stage.parts)
    assert any("outputs." in name for name in changed) == ("output_projections" in stage.parts)
    assert not any(("mlp" in name and "lora_" not in name) or "base_layer" in name for name in changed)


def test_the_server_loads_the_exported_weights(bundle: Bundle, tmp_path: Path) -> None:
    model = untrained_model(bundle).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    served = tiny_bundle(tmp_path / "served")
    model.export(served.path("lora"), served.path("projections"))
    signals = {name: {"token": f"[{name}{{i}}]", "run": run, "decoder": "image"} for name, run in RUN_LENGTHS.items()}
    manifest = served.manifest.model_copy(
        update={
            "signals": type(served.manifest).model_validate(served.manifest.model_dump() | {"signals": signals}).signals
        }
    )
    llama = load_llama(Bundle(served.folder, manifest, ""))
    ids = torch.tensor([1, 5, 9, *model.grammar.run_of("image").ids])

    served_output = run_forward(llama, llama.embed(ids.tolist()))
    with torch.no_grad():
        expected = model.language(input_ids=ids[None]).logits[0, -1]

    # The files are in half precision.
    torch.testing.assert_close(served_output.logits, expected, atol=0.05, rtol=0.05)


def test_the_target_of_a_projection_is_the_conditioning_of_the_decoder() -> None:
    for thing in (Thing("image", "dog", "blue"), Thing("audio", "harp", "low"), Thing("video", "bee", "growing")):
        torch.testing.assert_close(target_conditioning(thing), caption_encoder.encode(thing.modality, [thing.caption]))


def test_a_trained_base_with_an_adapter_has_the_same_outputs_and_gradients(bundle: Bundle) -> None:
    model = untrained_model(bundle)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    ids = torch.tensor([[1, 5, 9, 3, 7]])
    adapter = [parameter for name, parameter in model.named_parameters() if "lora_" in name]

    def outputs_and_gradients() -> list[torch.Tensor]:
        logits = model.language(input_ids=ids).logits
        return [logits, *torch.autograd.grad(logits.square().mean(), adapter)]

    model.train_parts(frozenset({"lora"}))
    apart = outputs_and_gradients()
    model.train_parts(frozenset({"lora", "base"}))
    merged = outputs_and_gradients()

    assert len(adapter) > 1
    for one, other in zip(apart, merged, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_an_exported_base_has_the_trained_weights_and_the_vocabulary_of_before(bundle: Bundle, tmp_path: Path) -> None:
    shutil.copy(bundle.path("llm") / "model.safetensors", tmp_path)
    before = load_file(tmp_path / "model.safetensors")
    model = untrained_model(bundle)
    model.train_parts(frozenset({"base"}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)

    model.export_base(tmp_path)

    after = load_file(tmp_path / "model.safetensors")
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name].float(), before[name].float())}
    assert changed == {name for name in before if "embed_tokens" not in name and "lm_head" not in name}
