"""What a decoder service can be told."""

from __future__ import annotations

from pydantic import Field

from services.settings import WorkerSettings


class DecoderSettings(WorkerSettings):
    """The environment's `MOTET_*`, and the command line over it."""

    listen: str = Field("127.0.0.1:50053", description="Address to serve on; port 0 takes a free one.")
    modality: str = Field(description="What it makes; one of the bundle's modalities.")
