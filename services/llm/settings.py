"""What a language model service can be told."""

from __future__ import annotations

from pydantic import Field

from services.settings import WorkerSettings


class LanguageModelSettings(WorkerSettings):
    """The environment's `MOTET_*`, and the command line over it."""

    listen: str = Field("127.0.0.1:50052", description="Address to serve on; port 0 takes a free one.")
