"""Every metric, declared once. Only processes that serve import this; the client does not need Prometheus.

Names are `motet_*` in base units; labels are from closed sets: methods, reasons, states, and the modalities of the
bundle. No label holds an id, a prompt or an address.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

Metric = TypeVar("Metric", Counter, Gauge, Histogram)

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

CALL_SECONDS = Histogram(
    "motet_call_duration_seconds",
    "Wall time of a gRPC call, waiting for admission included.",
    ["method", "code"],
    buckets=_SECONDS,
)
CALLS_RUNNING = Gauge("motet_calls_running", "Admitted calls that are worked on.")
CALLS_QUEUED = Gauge("motet_calls_queued", "Admitted calls that wait for their turn.")
CALLS_REFUSED = Counter("motet_calls_refused_total", "Calls refused before any work was done for them.", ["reason"])
DRAINING = Gauge("motet_draining", "1 while new calls are refused because the process is about to stop.")

GENERATIONS_RUNNING = Gauge("motet_generations_running", "Generations under way.")
GENERATION_SECONDS = Histogram(
    "motet_generation_duration_seconds",
    "Wall time of a generation, from accepted to done.",
    ["state"],
    buckets=_SECONDS,
)
FIRST_TEXT_SECONDS = Histogram(
    "motet_time_to_first_text_seconds", "Wall time from accepted to the first text.", buckets=_SECONDS
)
PARTS = Counter(
    "motet_parts_total", "Parts that came to an end; reason is empty for those that are done.", ["modality", "reason"]
)
MEDIA_JOBS_RUNNING = Gauge("motet_media_jobs_running", "Steps of generations that a decoder works on.", ["modality"])
MEDIA_JOB_SECONDS = Histogram(
    "motet_media_job_duration_seconds",
    "Wall time of one step of a generation, from ready to media.",
    ["modality"],
    buckets=_SECONDS,
)
MEDIA_JOB_RETRIES = Counter(
    "motet_media_job_retries_total", "Steps that were tried again after a worker failed.", ["modality"]
)
POOL_OUTSTANDING_SECONDS = Gauge(
    "motet_pool_outstanding_seconds",
    "Predicted seconds of work that a replica still has to do; replicas are numbered as the settings list them.",
    ["pool", "replica"],
)
POOL_QUEUE_SECONDS = Gauge(
    "motet_pool_queue_seconds", "Predicted seconds of work that waits for any replica.", ["pool"]
)
POOL_REFUSED = Counter("motet_pool_refused_total", "Calls refused because too much work was waiting.", ["pool"])
POOL_EJECTIONS = Counter(
    "motet_pool_ejections_total", "Times that a replica was left alone after failing in a row.", ["pool", "replica"]
)
TOKENS = Counter("motet_llm_tokens_total", "Tokens of the language model; direction is read or written.", ["direction"])
FORWARDS = Counter(
    "motet_llm_forwards_total", "Passes through the language model; tokens written by passes is how many share one."
)
SEQUENCES_RUNNING = Gauge("motet_llm_sequences_running", "Answers that the language model is reading for or writing.")
SEQUENCES_WAITING = Gauge("motet_llm_sequences_waiting", "Answers that wait for the language model's memory.")
KV_TOKENS_USED = Gauge("motet_llm_kv_tokens_used", "Tokens that the language model's memory is reserved for.")
KV_TOKENS_LIMIT = Gauge("motet_llm_kv_tokens_limit", "Tokens that the language model's memory has room for.")
PREFIX_TOKENS = Counter(
    "motet_llm_prefix_cache_tokens_total",
    "Tokens of scripts; result is computed, or shared where another script began alike.",
    ["result"],
)
DENOISING_STEPS = Counter(
    "motet_denoising_steps_total", "Denoising steps that were told; shared ones count for each who waits.", ["modality"]
)
DECODER_JOBS = Gauge(
    "motet_decoder_jobs", "Jobs of a decoder; state is running (in its current step) or waiting.", ["modality", "state"]
)
DECODER_BATCH_SIZE = Histogram(
    "motet_decoder_batch_size",
    "Jobs that shared one step of a decoder.",
    ["modality"],
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
)
DECODER_STEP_SECONDS = Histogram(
    "motet_decoder_step_duration_seconds",
    "Wall time of one step of a decoder, for all jobs that shared it.",
    ["modality"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
MEDIA_BYTES = Counter(
    "motet_media_bytes_total", "Bytes of encoded media; direction is read or made.", ["modality", "direction"]
)
EMBEDDING_CACHE = Counter(
    "motet_encoder_cache_total",
    "Pieces of media to embed; outcome is kept, joined (under way) or computed.",
    ["outcome"],
)
MEDIA_CACHE = Counter(
    "motet_decoder_cache_total",
    "Jobs for a decoder; outcome is kept (made before), joined (under way) or computed.",
    ["modality", "outcome"],
)


@cache
def labelled(metric: Metric, *labels: str) -> Metric:
    """`metric.labels(*labels)`, remembered: looking it up anew takes as long as counting five times."""
    return metric.labels(*labels)
