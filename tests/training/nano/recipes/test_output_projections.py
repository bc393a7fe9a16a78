from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from motet.models.llm.projections import ProjectorConfig, TextFcLayer
from motet.training.nano.dialogues.dialogue import Dialogue
from motet.training.nano.recipes.output_projections import renamed_subjects, replace_weights, whiten
from motet.training.nano.world.world import MODALITIES, Thing, held_out, things
from tests.models.tiny_bundle import tiny_bundle


def test_a_whitened_layer_amplifies_small_differences_between_states() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(32, 8)
    states = 50 + 0.1 * torch.randn(100, 4, 32)

    whiten(layer, states)

    outputs = layer(states).flatten(0, 1)
    assert outputs.mean(dim=0).abs().max() < 0.01
    assert outputs.std(dim=0).min() > 0.7


def test_only_one_projection_is_replaced(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    path = bundle.path("projections/model.safetensors")
    before = load_file(path)

    replace_weights(path, "outputs.image.", TextFcLayer(32, ProjectorConfig(4, 6, 8, 2, 1, 16)))

    after = load_file(path)
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name].float(), before[name].float())}
    assert changed
    assert all(name.startswith("gen_text_hidden_fcs.0.") for name in changed)
    assert [file.name for file in path.parent.iterdir() if "model" in file.name] == ["model.safetensors"]


def requested(dialogues: list[Dialogue]) -> list[Thing]:
    return [part for dialogue in dialogues for part in dialogue[1].parts if isinstance(part, Thing)]


@pytest.mark.parametrize("modality", ["image", "video"])
def test_every_word_of_a_held_out_thing_occurs_in_its_row_of_a_trained_caption(modality: str) -> None:
    trained = [thing for thing in things(modality) if not held_out(thing)]
    trained += requested(renamed_subjects(modality, 500, np.random.default_rng(0)))
    rows = {row for thing in trained for row in enumerate(thing.caption.split())}

    assert not any(map(held_out, trained))
    for thing in filter(held_out, things(modality)):
        assert set(enumerate(thing.caption.split())) <= rows, thing.caption


def test_sounds_have_no_renamed_subjects_because_their_words_have_no_rows() -> None:
    counts = {name: len(renamed_subjects(name, 5, np.random.default_rng(0))) for name in (*MODALITIES, "animation")}

    assert counts == {"image": 5, "audio": 0, "video": 5, "animation": 0}
