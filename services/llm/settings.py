"""What a language model service can be told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from motet.models.llm.config import EngineConfig
from services.settings import WorkerSettings


class LanguageModelSettings(WorkerSettings):
    """Settings of the language model service. `EngineConfig` explains those that are counted in tokens."""

    listen: str = Field("127.0.0.1:50052", description="Address to serve on; port 0 takes a free one.")
    kv_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Tokens of scripts and answers that memory is taken for; otherwise twelve conversations'."
    )
    prefix_tokens: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Tokens of scripts' beginnings that are remembered; otherwise four conversations'."
    )
    pass_tokens: Annotated[int, Field(ge=1)] = Field(
        EngineConfig().pass_tokens, description="Tokens that go through the network at once, about."
    )

    @property
    def budget(self) -> EngineConfig:
        """The bounds of the engine."""
        return EngineConfig(self.kv_tokens, self.prefix_tokens, self.pass_tokens)
