"""Descriptions of models on the wire."""

from __future__ import annotations

from motet.core.service import Model, Output
from motet.transport.convert.timestamps import duration_from_proto, duration_to_proto
from motet.v1 import model_service_pb2 as pb


def model_to_proto(model: Model) -> pb.Model:
    """Return the model as a message."""
    return pb.Model(
        name=model.name,
        description=model.description,
        licence=model.licence,
        digest=model.digest,
        input_modalities=model.input_modalities,
        outputs=[
            pb.Model.Output(
                modality=output.modality,
                media_type=output.media_type,
                steps=output.steps,
                guidance=output.guidance,
                max_parts=output.max_parts,
                unavailable=not output.available,
                takes=[pb.Model.Slot(modalities=modalities) for modalities in output.takes],
            )
            for output in model.outputs
        ],
        max_output_tokens=model.max_output_tokens,
        max_duration=duration_to_proto(model.max_duration),
        max_media_bytes=model.max_media_bytes,
        max_input_media=model.max_input_media,
        unavailable=not model.available,
        input_unavailable=not model.input_available,
    )


def model_from_proto(model: pb.Model) -> Model:
    """Return the model of a message."""
    return Model(
        name=model.name,
        description=model.description,
        licence=model.licence,
        digest=model.digest,
        input_modalities=tuple(model.input_modalities),
        outputs=tuple(map(_output_from_proto, model.outputs)),
        max_output_tokens=model.max_output_tokens,
        max_duration=duration_from_proto(model.max_duration),
        max_media_bytes=model.max_media_bytes,
        max_input_media=model.max_input_media,
        available=not model.unavailable,
        input_available=not model.input_unavailable,
    )


def _output_from_proto(output: pb.Model.Output) -> Output:
    return Output(
        modality=output.modality,
        media_type=output.media_type,
        steps=output.steps,
        guidance=output.guidance,
        max_parts=output.max_parts,
        available=not output.unavailable,
        takes=tuple(tuple(slot.modalities) for slot in output.takes),
    )
