"""What a decoder service can be told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from services.settings import WorkerSettings


class DecoderSettings(WorkerSettings):
    """The environment's `MOTET_*`, and the command line over it."""

    listen: str = Field("127.0.0.1:50053", description="Address to serve on; port 0 takes a free one.")
    modality: str = Field(description="What it makes; one of the bundle's modalities.")
    batch_tolerance: Annotated[float, Field(ge=0)] = Field(
        0.0, description="How far a number that the network says may move because of a step's other jobs; 0: not a bit."
    )
