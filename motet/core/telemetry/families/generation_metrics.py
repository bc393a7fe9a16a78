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
FIRST_MEDIA_SECONDS = Histogram(
    "motet_time_to_first_media_seconds",
    "Wall time of generations, from accepted to the first complete medium of a modality.",
    ["modality"],
    buckets=SECONDS,
)
GENERATIONS = Counter(
    "motet_generations_total",
    "Ended generations, each counted once. reason is that of the error, or empty. fault is server, caller or empty. "
    "cause is the cause of a cancellation: hung_up (the caller left), requested, or empty.",
    ["state", "reason", "fault", "cause"],
)
GENERATIONS_REFUSED = Counter(
    "motet_generations_refused_total",
    "Requests that were refused before a generation started. fault is server or caller.",
    ["reason", "fault"],
)
PLAN_JOBS = Histogram("motet_plan_jobs", "Media jobs of a plan that ended.", buckets=(0, 1, 2, 3, 4, 6, 8, 12, 16, 32))
PLAN_DEPTH = Histogram(
    "motet_plan_depth", "Media jobs of the longest chain of a plan that ended.", buckets=(0, 1, 2, 3, 4, 6, 8)
)
CRITICAL_PATH_SECONDS = Histogram(
    "motet_generation_critical_path_seconds",
    "Wall time of the worker calls of a complete generation that each waited for the one before, up to its end. It "
    "includes their waits for a replica.",
    buckets=SECONDS,
)
OVERHEAD_SECONDS = Histogram(
    "motet_generation_overhead_seconds",
    "Wall time of a complete generation without its critical path: the orchestrator's own time.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
PARTS = Counter(
    "motet_parts_total",
    "Ended parts. reason is empty for complete parts. fault is server, caller or empty.",
    ["modality", "reason", "fault"],
)
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
MEDIA_CACHE = Counter(
    "motet_decoder_cache_total",
    "Decode jobs. outcome is hit, joined (a job in progress) or miss.",
    ["modality", "outcome"],
)
