"""The availability of modalities: it follows the workers that a request of each needs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from motet.core.bundle import Manifest
from motet.core.workers import Workers
from motet.toys.manifest import MIX, TOY
from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel
from orchestrator.availability import availability_of

OUTPUTS = {"text", *TOY.signals}
INPUTS = set(TOY.encoder.modalities)


@dataclass
class Presence:
    """A worker that is present or away."""

    available: bool


def availability(away: set[str], manifest: Manifest = TOY) -> tuple[set[str], set[str]]:
    """Return the available outputs and inputs while some workers are away."""
    workers = Workers(
        Presence("encoder" not in away),  # type: ignore[arg-type]
        Presence("language model" not in away),  # type: ignore[arg-type]
        {modality: Presence(modality not in away) for modality in manifest.signals if modality not in away},  # type: ignore[misc]
    )
    found = availability_of(workers, manifest)
    return ({name for name, served in found.outputs.items() if served}, {n for n, s in found.inputs.items() if s})


@pytest.mark.parametrize(
    ("away", "outputs", "inputs"),
    [
        (set(), OUTPUTS, INPUTS),
        ({"language model"}, set(), set()),
        ({"encoder"}, OUTPUTS, set()),
        ({"image"}, OUTPUTS - {"image"}, INPUTS),
        # Without the encoder, an input of the mix can only come from the decoder that is away.
        ({"image", "encoder"}, OUTPUTS - {"image", MIX}, set()),
        ({MIX}, OUTPUTS - {MIX}, INPUTS),
        (set(TOY.signals), {"text"}, INPUTS),
    ],
)
def test_a_modality_is_available_if_all_that_its_requests_need_is(
    away: set[str], outputs: set[str], inputs: set[str]
) -> None:
    assert availability(away) == (outputs, inputs)


def test_modalities_that_take_only_each_other_are_not_available() -> None:
    signals = {
        name: signal.model_copy(update={"takes": [["b"] if name == "a" else ["a"]]})
        for name, signal in zip(("a", "b"), TOY.signals.values(), strict=False)
    }
    manifest = TOY.model_copy(update={"signals": signals})

    assert availability(set(), manifest)[0] == {"text"}


def test_a_modality_with_a_decoder_is_available_while_calls_wait_for_replicas() -> None:
    workers = Workers(Presence(False), Presence(False), {"image": Presence(False)})  # type: ignore[arg-type, dict-item]
    found = availability_of(workers, TOY, waits=True)

    assert {name for name, served in found.outputs.items() if served} == {"text", "image"}
    assert all(found.inputs.values())


def test_workers_of_this_process_are_always_available() -> None:
    workers = Workers(
        ToyEncoder(), ToyLanguageModel(TOY.grammar), {modality: ToyDecoder(modality) for modality in TOY.signals}
    )
    found = availability_of(workers, TOY)

    assert all(found.outputs.values())
    assert all(found.inputs.values())
