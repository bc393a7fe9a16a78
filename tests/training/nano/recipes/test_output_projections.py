from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from motet.models.llm.projections import ProjectorConfig, TextFcLayer
from motet.training.nano.recipes.output_projections import replace_weights, whiten
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
