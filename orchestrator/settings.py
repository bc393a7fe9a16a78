"""Settings of the orchestrator. The environment variable `MOTET_MAX_DURATION=30` sets `max_duration`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from motet.core.media import MAX_MEDIA_BYTES, MEBI
from motet.core.request import MAX_COUNT, PRIORITIES
from motet.scheduling.fair_queue import AGEING

MIN_SECONDS, MAX_SECONDS = 0.0001, 366 * 86_400.0
"""Bounds of the settings in seconds: a shorter interval is a loop without a pause, a longer one fits no timestamp."""

Seconds = Annotated[float, Field(ge=MIN_SECONDS, le=MAX_SECONDS, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Bytes = Annotated[int, Field(ge=1, le=2**50)]

Addresses = str | Annotated[tuple[str, ...], Field(min_length=1)]
"""One address, or the addresses of several replicas."""

_OR_NAME = ": HOST:PORT, unix:PATH, dns:///HOST:PORT, kubernetes://NAMESPACE/SERVICE:PORT or ray:APPLICATION."

HEARTBEAT = 10.0
"""Default interval of heartbeats on a silent stream, in seconds. Some networks drop connections that are silent."""


class OrchestratorSettings(BaseSettings):
    """Addresses of the workers, and limits of a single request and of all requests together."""

    model_config = SettingsConfigDict(
        env_prefix="MOTET_", env_ignore_empty=True, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    listen: str = Field(
        default="127.0.0.1:50050",
        description="Address to serve on. Port 0 selects a free port.",
        json_schema_extra={"metavar": "HOST:PORT"},
    )
    encoder: Addresses = Field(
        default="127.0.0.1:50051",
        description="Address of the encoder service" + _OR_NAME,
        json_schema_extra={"metavar": "ADDR"},
    )
    language_model: Addresses = Field(
        default="127.0.0.1:50052",
        description="Address of the language model service" + _OR_NAME,
        json_schema_extra={"metavar": "ADDR"},
    )
    decoders: dict[str, Addresses] = Field(
        default_factory=dict,
        description="Modality to the address of its decoder" + _OR_NAME,
        json_schema_extra={"metavar": "M=ADDR"},
        examples=[{"MODALITY": "HOST:PORT"}],
    )
    dns_interval: Seconds = Field(
        default=5.0,
        description="Interval at which names in addresses such as dns:///HOST:PORT are resolved, in seconds. "
        "Each IP address of a name is one replica.",
    )

    max_duration: Seconds = Field(
        default=300.0, description="Maximum duration of a generation, from `accepted` to `done`, in seconds."
    )
    media_job_timeout: Seconds = Field(
        default=120.0, description="Timeout of one media part, in seconds, including a retry."
    )
    deadline_margin: Seconds = Field(
        default=0.2, description="Seconds before a deadline at which the work stops and `done` is sent."
    )
    heartbeat: Seconds = Field(default=HEARTBEAT, description="Interval of heartbeats on a silent stream, in seconds.")
    text_interval: Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)] = Field(
        default=0.02, description="Minimum interval between text events, in seconds. 0 sends each piece on its own."
    )

    max_output_tokens: Count | None = Field(
        default=None, description="Maximum tokens of an answer. By default, the limit of the model's manifest."
    )
    max_parts_per_modality: Count = Field(default=8, description="Maximum media parts of one modality in an answer.")
    max_parts: Count = Field(default=16, description="Maximum media parts in an answer, failed ones included.")
    max_refused_signals: Count = Field(
        default=8, description="Maximum broken or refused signals in an answer. One more stops the language model."
    )
    max_text_length: Count = Field(default=1_000_000, description="Maximum length of an answer's text in code points.")

    max_turns: Count = Field(default=256, description="Maximum turns in a conversation.")
    max_turn_parts: Count = Field(default=64, description="Maximum pieces of text and media in a turn.")
    max_text_bytes: Bytes = Field(default=256 * 1024, description="Maximum size of a piece of text in bytes of UTF-8.")
    max_input_media: Count = Field(
        default=32, description="Maximum pieces of media that a user attaches to a conversation."
    )
    max_media_bytes: Bytes = Field(
        default=MAX_MEDIA_BYTES, description="Maximum size of a piece of media in bytes, for input and for output."
    )
    max_input_bytes: Bytes = Field(
        default=64 * MEBI, description="Maximum size of all media in a conversation, in bytes."
    )

    max_priority: Annotated[int, Field(ge=PRIORITIES[0], le=PRIORITIES[-1])] = Field(
        default=PRIORITIES[-1], description="Maximum priority of a request. Higher priorities are lowered to it."
    )
    queue_seconds: Seconds = Field(
        default=60.0,
        description="Queue limit per worker slot, in predicted seconds of work. Calls beyond it are refused at once. "
        "One tenant alone may fill four fifths of the queue.",
    )
    ageing: Seconds = Field(
        default=AGEING, description="Seconds without service that raise the priority of waiting calls by one."
    )
    reservation_timeout: Seconds = Field(
        default=10.0, description="Seconds after which the reservation for an expected media job ends."
    )
    eject_after: Count = Field(default=3, description="Number of consecutive retryable failures that eject a replica.")
    eject_for: Seconds = Field(
        default=1.0, description="Duration of a replica's first ejection in seconds. Each further one is twice as long."
    )
    return_timeout: Seconds = Field(
        default=15.0,
        description="Time for which calls wait for a worker that was lost or drains, if no other can do them, in "
        "seconds.",
    )
    wait_for_replicas: bool = Field(
        default=False,
        description="Let calls wait in the queue, up to their deadline, while no replica of their worker can be "
        "reached. This is for workers that are scaled to zero. The health reports them as served.",
    )
    max_generations: Count = Field(
        default=64,
        description="Maximum concurrent generations. Requests beyond it are refused at once. One tenant alone may have "
        "four fifths of them.",
    )
    max_event_bytes: Annotated[int, Field(ge=2**16, le=2**50)] = Field(
        default=32 * MEBI,
        description="Maximum memory of the events of one generation, in bytes. Beyond half of it, previews are left "
        "out and media have to be downloaded. Beyond it, the language model is stopped.",
    )
    result_ttl: Seconds = Field(
        default=600.0, description="Time for which an ended generation can be watched, in seconds."
    )
    max_results: Count = Field(
        default=10_000,
        description="Maximum number of ended generations that are kept. Beyond it, the tenant with the most loses its "
        "least recently used one.",
    )
    max_result_bytes: Bytes = Field(
        default=256 * MEBI,
        description="Maximum memory of ended generations with their events, in bytes. Beyond it, the tenant with the "
        "most loses its least recently used generation. A running generation is never removed.",
    )
    artifact_ttl: Seconds = Field(default=3600.0, description="Lifetime of an artifact in seconds.")
    max_artifact_bytes: Bytes = Field(
        default=512 * MEBI,
        description="Maximum size of all artifacts in bytes. Beyond it, the tenant with the most loses its least "
        "recently used one.",
    )
    media_cache_bytes: Annotated[int, Field(ge=0, le=2**50)] = Field(
        default=64 * MEBI,
        description="Size of the cache of finished media, in bytes. A tenant's equal jobs with equal seeds are cache "
        "hits. With 0, there is no cache, and equal jobs that run at the same time are not shared.",
    )
