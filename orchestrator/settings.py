"""All the orchestrator can be told. `MOTET_MAX_DURATION=30` sets `max_duration`; nothing else is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from motet.core.request import PRIORITIES
from motet.scheduling.fair_queue import AGEING

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1)]

Addresses = str | Annotated[tuple[str, ...], Field(min_length=1)]
"""An address, or a list of the addresses of several replicas."""

MEBI = 1024 * 1024


class OrchestratorSettings(BaseSettings):
    """Where the workers are, and how much of everything one request, and all of them together, may take."""

    model_config = SettingsConfigDict(env_prefix="MOTET_", env_nested_delimiter="__", frozen=True, extra="forbid")

    listen: str = Field(default="127.0.0.1:50050", description="Address to serve on; port 0 takes a free one.")
    encoder: Addresses = Field(default="127.0.0.1:50051", description="Address of the encoder service.")
    language_model: Addresses = Field(default="127.0.0.1:50052", description="Address of the language model service.")
    decoders: dict[str, Addresses] = Field(default_factory=dict, description="Modality to the address of its decoder.")

    max_duration: Seconds = Field(
        default=300.0, description="Seconds one generation may take, from acceptance to done."
    )
    step_timeout: Seconds = Field(default=120.0, description="Seconds one media part may take, retry included.")
    deadline_margin: Seconds = Field(
        default=0.2, description="Seconds before a deadline at which work stops and done is told."
    )
    heartbeat: Seconds = Field(
        default=10.0, description="Seconds of silence after which a stream says that it is alive."
    )
    text_interval: Annotated[float, Field(ge=0)] = Field(
        default=0.02, description="Seconds of text that go into one event."
    )

    max_output_tokens: Count | None = Field(
        default=None, description="Tokens of one answer; unset: as the model's manifest says."
    )
    max_parts_each: Count = Field(default=8, description="Media parts of one modality in one answer.")
    max_parts: Count = Field(default=16, description="Media parts in one answer, those that fail included.")
    max_refusals: Count = Field(
        default=8, description="Broken or refused signals after which a language model is stopped."
    )
    max_text: Count = Field(default=1_000_000, description="Code points of text in one answer.")

    max_turns: Count = Field(default=256, description="Turns in one conversation.")
    max_turn_parts: Count = Field(default=64, description="Pieces of text and media in one turn.")
    max_text_bytes: Bytes = Field(default=256 * 1024, description="Bytes of one piece of text, as UTF-8.")
    max_input_media: Count = Field(default=32, description="Pieces of media in one conversation.")
    max_media_bytes: Bytes = Field(
        default=32 * MEBI, description="Bytes of one piece of media, that comes in or is made."
    )
    max_input_bytes: Bytes = Field(default=64 * MEBI, description="Bytes of all media in one conversation.")

    max_priority: Annotated[int, Field(ge=PRIORITIES[0], le=PRIORITIES[-1])] = Field(
        default=PRIORITIES[-1], description="The highest priority that is heeded; higher ones are lowered to it."
    )
    queue_seconds: Seconds = Field(
        default=60.0,
        description="Seconds of predicted work that may wait for each call that workers of a kind do at a time; "
        "more is refused at once. One tenant alone may fill four fifths of it.",
    )
    ageing: Seconds = Field(
        default=AGEING, description="Seconds of being passed over that raise the priority of what waits by one."
    )
    reservation: Seconds = Field(
        default=10.0, description="Seconds for which a place is kept for media whose signal has begun."
    )
    eject_after: Count = Field(
        default=3, description="Retryable failures in a row after which a replica is left alone for a while."
    )
    eject_for: Seconds = Field(
        default=1.0, description="Seconds for which it is left alone at first; twice as long each time it fails again."
    )
    max_generations: Count = Field(default=64, description="Generations at a time; more are refused at once.")
    result_ttl: Seconds = Field(default=600.0, description="Seconds for which a finished generation can be watched.")
    max_results: Count = Field(default=10_000, description="Finished generations that are kept.")
    max_result_bytes: Bytes = Field(
        default=256 * MEBI, description="Bytes of finished generations' events that are kept."
    )
    artifact_ttl: Seconds = Field(
        default=3600.0, description="Seconds for which an artifact can be used, from when it was made."
    )
    max_artifact_bytes: Bytes = Field(
        default=512 * MEBI, description="Bytes of all artifacts; the least recently used make room."
    )
    reuse_bytes: Annotated[int, Field(ge=0)] = Field(
        default=64 * MEBI,
        description="Bytes of finished media that are kept and given again where a tenant asks for the same with the "
        "same seed; with 0, equal media are made as often as they are asked for, even at the same moment.",
    )
