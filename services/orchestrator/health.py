"""The names of an orchestrator in the health service, and whether each can be served."""

from __future__ import annotations

from motet.core.events import TEXT
from orchestrator.availability import Availability
from services.orchestrator.servicer import GenerationServicer

_OUTPUT, _INPUT = "motet.v1/", "motet.v1/input/"


def health_of(availability: Availability) -> dict[str, bool]:
    """Return whether requests can be served now, by name.

    "" and the generation service need the language model, because every request does. `motet.v1/MODALITY` is for
    answers with that modality, and `motet.v1/input/MODALITY` is for prompts with it.
    """
    text = availability.outputs[TEXT]
    outputs = {f"{_OUTPUT}{modality}": served for modality, served in availability.outputs.items()}
    inputs = {f"{_INPUT}{modality}": served for modality, served in availability.inputs.items()}
    return {"": text, GenerationServicer.name: text} | outputs | inputs
