"""The language model in half precision, and on a device that is not a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.core.bundle import Bundle
from motet.core.workers import Signal
from motet.models.arrays import to_torch
from motet.models.dtype import DtypeSetting
from motet.models.llm.language_model import load_language_model
from motet.models.llm.layers.attention import TokenRange
from motet.models.llm.loading import _load_projections, load_checkpoint, load_llama
from motet.models.llm.network import Llama
from motet.models.llm.prompt.tokenized_prompt import TokenizedPrompt
from motet.models.model_folder import ModelFolder
from motet.training.seal_bundle import seal_bundle
from services.benchmarks.load.conversations import prompt, trace_response
from tests.models.llm.forwards import run_forward
from tests.models.tiny_bundle import WIDTH, tiny_bundle

HALVES: list[DtypeSetting] = ["float16", "bfloat16"]
META = torch.device("meta")


def stored_in(folder: Path, dtype: DtypeSetting) -> Bundle:
    """Return a bundle with weights of a dtype."""
    tiny_bundle(folder)
    for file in folder.rglob("*.safetensors"):
        save_file({name: value.to(getattr(torch, dtype)) for name, value in load_file(file).items()}, file)
    return seal_bundle(folder)


def media_prompt(embedding: torch.Tensor) -> TokenizedPrompt:
    return TokenizedPrompt(torch.tensor([3, 0, 5, 7]), (1,), embedding)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_language_model_on_a_gpu_has_the_dtype_of_its_weights_and_computes_on_its_device_alone(
    dtype: DtypeSetting, tmp_path: Path
) -> None:
    bundle, expected = stored_in(tmp_path / "bundle", dtype), getattr(torch, dtype)
    folder = ModelFolder.of(bundle, bundle.manifest.language_model.projections)
    checkpoint = load_checkpoint(bundle, META)
    projections = _load_projections(folder, checkpoint.config.hidden_size, META, "auto")
    llama = Llama(checkpoint, projections, 96, 4)

    # An operation of tensors on "meta" and on a CPU fails, as it would with those of a GPU.
    embedded = llama.embed_prompt(media_prompt(torch.zeros(1, WIDTH)))
    embedded = torch.cat([embedded, llama.embed([1, 2])])
    ranges = [TokenRange(0, 0, 4), TokenRange(64, 9, 1), TokenRange(128, 7, 1)]
    states = llama.forward(embedded, ranges, llama.cache(256), [3, 4, 5])
    logits, conditioning = llama.logits(states), llama.conditioning("image", states[:2], embedded[:2])

    assert {parameter.dtype for parameter in (*checkpoint.parameters(), *projections.parameters())} == {expected}
    assert (logits.device, logits.dtype) == (META, torch.float32)
    assert (conditioning.device, conditioning.dtype) == (META, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_an_adapter_is_merged_in_single_precision(dtype: DtypeSetting, tmp_path: Path) -> None:
    bundle = stored_in(tmp_path / "bundle", dtype)

    exact, half = (load_checkpoint(bundle, dtype=setting).state_dict() for setting in ("auto", dtype))

    assert all(torch.equal(exact[name].to(half[name].dtype), half[name]) for name in exact)


@pytest.mark.parametrize("dtype", HALVES)
def test_states_in_half_precision_are_nearly_those_in_single_precision(dtype: DtypeSetting, tmp_path: Path) -> None:
    bundle = stored_in(tmp_path / "bundle", dtype)
    request = media_prompt(torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(0)))

    exact, half = (load_llama(bundle, "cpu", setting) for setting in ("auto", dtype))
    results = [run_forward(llama, llama.embed_prompt(request)) for llama in (exact, half)]

    assert (exact.dtype, half.dtype) == (torch.float32, getattr(torch, dtype))
    torch.testing.assert_close(results[1].states.float(), results[0].states, atol=0.1, rtol=0.1)
    assert results[1].logits.dtype == torch.float32


@pytest.mark.parametrize("dtype", HALVES)
async def test_the_conditioning_of_a_model_in_half_precision_is_in_single_precision(
    dtype: DtypeSetting, tmp_path: Path
) -> None:
    model = load_language_model(stored_in(tmp_path / "bundle", dtype), dtype=dtype)

    trace = await trace_response(model, prompt("show me", 60, seed=1, ceilings={"image": 2, "audio": 2}))

    signals = [event for event in trace.events if isinstance(event, Signal)]
    assert signals
    assert all(torch.isfinite(to_torch(each.conditioning)).all() for each in signals)
    assert {each.conditioning.dtype for each in signals} == {"float32"}
    model.close()
