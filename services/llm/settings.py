"""Settings of the language model service."""

from __future__ import annotations

from pydantic import Field

from motet.core.request import MAX_COUNT
from motet.models.llm.config import EngineConfig
from services.settings import ADDRESS, LISTEN, WorkerSettings


class LanguageModelSettings(WorkerSettings):
    """Settings of `motet serve llm`. `EngineConfig` documents the limits in tokens."""

    listen: str = Field("127.0.0.1:50052", description=LISTEN, json_schema_extra=ADDRESS)
    kv_tokens: int | None = Field(
        None,
        ge=1,
        le=MAX_COUNT,
        description="Size of the KV cache, in tokens. Default: twelve conversations of full length.",
    )
    prefix_cache_tokens: int | None = Field(
        None,
        ge=0,
        le=MAX_COUNT,
        description="Size of the prefix cache, in tokens. 0 turns it off. Default: four conversations of full length.",
    )
    max_batched_tokens: int = Field(
        EngineConfig().max_batched_tokens,
        ge=1,
        le=MAX_COUNT,
        description="Approximate maximum number of tokens in one forward. A longer prompt is prefilled in chunks.",
    )

    @property
    def engine_config(self) -> EngineConfig:
        """The limits of the engine."""
        return EngineConfig(self.kv_tokens, self.prefix_cache_tokens, self.max_batched_tokens)
