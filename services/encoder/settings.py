"""Settings of the encoder service."""

from __future__ import annotations

from pydantic import Field

from services.settings import ADDRESS, LISTEN, WorkerSettings


class EncoderSettings(WorkerSettings):
    """Settings of `motet serve encoder`."""

    listen: str = Field("127.0.0.1:50051", description=LISTEN, json_schema_extra=ADDRESS)
