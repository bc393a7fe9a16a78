"""The metrics of generations, their parts and their caches."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from motet.core.telemetry.prometheus import SECONDS

GENERATIONS_RUNNING = Gauge("motet_generations_running", "Running generations.")
GENERATION_SECONDS = Histogram(
    "motet_generation_duration_seconds",
    "Wall time of generations, from accepted to done.",
    ["state"],
    buckets=SECONDS,
)
FIRST_TEXT_SECONDS = Histogram(
    "motet_time_to_first_text_seconds", "Wall time of generations, from accepted to the first text.", buckets=SECONDS
)
PARTS = Counter("motet_parts_total", "Ended parts. reason is empty for complete parts.", ["modality", "reason"])
MEDIA_JOBS_RUNNING = Gauge("motet_media_jobs_running", "Running media jobs of generations.", ["modality"])
MEDIA_JOB_SECONDS = Histogram(
    "motet_media_job_duration_seconds",
    "Wall time of media jobs, from all inputs ready to media.",
    ["modality"],
    buckets=SECONDS,
)
MEDIA_JOB_RETRIES = Counter(
    "motet_media_job_retries_total",
    "Second and later attempts of media jobs, after a worker's error or silence.",
    ["modality"],
)
TOKENS = Counter("motet_llm_tokens_total", "Tokens of the language model. direction is input or output.", ["direction"])
DENOISING_STEPS = Counter(
    "motet_denoising_steps_total",
    "Denoising steps reported to generations. A shared step counts once per generation.",
    ["modality"],
)
MEDIA_BYTES = Counter(
    "motet_media_bytes_total", "Bytes of encoded media. direction is input or output.", ["modality", "direction"]
)
EMBEDDING_CACHE = Counter(
    "motet_encoder_cache_total",
    "Media to encode. outcome is hit, joined (an encoding in progress) or miss.",
    ["outcome"],
)
MEDIA_CACHE = Counter(
    "motet_decoder_cache_total",
    "Decode jobs. outcome is hit, joined (a job in progress) or miss.",
    ["modality", "outcome"],
)
