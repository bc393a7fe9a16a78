"""Settings of a decoder service."""

from __future__ import annotations

from pydantic import Field

from services.settings import ADDRESS, LISTEN, WorkerSettings


class DecoderSettings(WorkerSettings):
    """Settings of `motet serve decoder`."""

    listen: str = Field("127.0.0.1:50053", description=LISTEN, json_schema_extra=ADDRESS)
    modality: str = Field(
        description="Modality of the decoder's media, one of the bundle's.", json_schema_extra={"metavar": "M"}
    )
    batch_tolerance: float | None = Field(
        None,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="Maximum change of a network output by the other jobs of a denoising step. 0 allows no change. "
        "Default: 0 on a CPU, 32 rounding units of the dtype on a GPU.",
    )
