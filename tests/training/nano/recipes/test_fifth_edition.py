"""The start of the fifth edition, and the order of its stages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from motet.core.bundle import Manifest
from motet.training.nano.recipes import earlier_edition
from motet.training.nano.recipes.alignment import load_alignment_model
from motet.training.nano.recipes.alignment_model import RUN_LENGTHS, nano_projections
from motet.training.nano.recipes.earlier_edition import MANIFEST_TEMPLATE, load_edition
from motet.training.nano.recipes.fifth_edition import only_needed, steps
from motet.training.pipeline import TrainingPipeline

NANO = Path("bundles/nano")
VOCABULARY = ("embed_tokens.weight", "lm_head.weight")


def fifth_manifest() -> Manifest:
    return Manifest.model_validate(yaml.safe_load(MANIFEST_TEMPLATE.read_text()) | {"files": {}})


def test_the_manifest_of_the_fifth_edition_has_the_runs_and_shapes_that_training_uses() -> None:
    manifest = fifth_manifest()
    projections = nano_projections(256, 256)

    assert {name: signal.run for name, signal in manifest.signals.items()} == RUN_LENGTHS
    assert manifest.signals["animation"].takes == [["image"]]
    assert manifest.signals["film"].takes == [["animation", "video"], ["audio"]]
    for name in manifest.signals:
        sizes = projections.outputs[name]
        shape = [side for side in manifest.decoder_of(name).conditioning if side > 1]
        assert shape == [side for side in (sizes.queries, sizes.out_width) if side > 1]


def earlier_bundle(folder: Path) -> Path:
    """Return the bundle without the signals and the adapted layers that the fifth edition added."""
    new_ids = RUN_LENGTHS["animation"] + RUN_LENGTHS["film"]
    for name in ("lora/adapter_model.safetensors", "projections/model.safetensors"):
        kept = {
            key: value[:-new_ids].contiguous() if key.endswith(VOCABULARY) else value
            for key, value in load_file(NANO / name).items()
            if not any(part in key for part in ("mlp", "animation", "film"))
        }
        (folder / name).parent.mkdir()
        save_file(kept, folder / name)
    return folder


def test_the_model_begins_with_the_weights_of_an_edition_with_fewer_signals(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, _, _ = load_alignment_model(NANO)
    model.eval()
    bundle = earlier_bundle(tmp_path)
    load_edition(model, bundle)
    saved = load_file(bundle / "lora" / "adapter_model.safetensors")

    embeddings = model.llama.model.embed_tokens.weight
    old = saved["base_model.model.model.embed_tokens.weight"].float()
    assert torch.equal(embeddings[: len(old)], old)
    assert len(embeddings) == len(old) + RUN_LENGTHS["animation"] + RUN_LENGTHS["film"]
    assert (embeddings[len(old) :].mean(dim=0) - old.mean(dim=0)).abs().max() < 1e-5
    # The new adapted layers have no effect yet.
    fresh = [value for name, value in model.state_dict().items() if "mlp" in name and "lora_B" in name]
    assert fresh
    assert not any(value.any() for value in fresh)
    assert not any(p.any() for p in model.projections.outputs["film"].parameters())


def test_a_bundle_with_an_unknown_tensor_is_an_error() -> None:
    model, _, _ = load_alignment_model(NANO)
    del model.projections.outputs["audio"]

    with pytest.raises(ValueError, match="gen_text_hidden_fcs_audio"):
        load_edition(model, NANO)


def test_the_start_copies_the_bundle_once(tmp_path: Path) -> None:
    for _ in range(2):
        earlier_edition.main(NANO, tmp_path)

    assert (tmp_path / "bundle" / "bundle.yaml").read_text() == MANIFEST_TEMPLATE.read_text()
    assert (tmp_path / "bundle" / "llm" / "model.safetensors").stat().st_size > 1e6
    weights = load_file(tmp_path / "autoencoder" / "step-00000000" / "model.safetensors")
    assert weights["analysis.weight"].dtype == torch.float32


def test_the_stages_are_a_valid_pipeline_whose_trainings_each_fit_in_two_hours_and_a_half_on_two_cores(
    tmp_path: Path,
) -> None:
    listed = steps(tmp_path, NANO, threads=2)
    TrainingPipeline(listed, tmp_path)
    minutes = {
        step.name: float(step.command[step.command.index("--minutes") + 1])
        for step in listed
        if "--minutes" in step.command
    }

    assert minutes.pop("clip-denoiser") <= 2 * 150
    assert sum(minutes.values()) <= 2 * 150
    assert listed[-1].name == "evaluation"


def test_one_training_runs_without_the_stages_that_need_the_other_one(tmp_path: Path) -> None:
    listed = steps(tmp_path, NANO)

    assert [step.name for step in only_needed(listed, "clip-denoiser")] == ["start", "clip-denoiser", "export"]
    names = [step.name for step in only_needed(listed, "language-model")]
    assert names[:2] == ["start", "language-model"]
    assert {name.partition("-")[0] for name in names[2:]} == {"projection"}
    assert only_needed(listed, "") == listed
    with pytest.raises(ValueError, match="language-model, clip-denoiser"):
        only_needed(listed, "encoder")
