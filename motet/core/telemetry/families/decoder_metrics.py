"""The metrics of decoders."""

from __future__ import annotations

from prometheus_client import Gauge, Histogram

DECODER_JOBS = Gauge(
    "motet_decoder_jobs", "Jobs of a decoder. state is running (in the current step) or waiting.", ["modality", "state"]
)
DECODER_BATCH_SIZE = Histogram(
    "motet_decoder_batch_size",
    "Jobs per batched denoising step.",
    ["modality"],
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
)
DECODER_STEP_SECONDS = Histogram(
    "motet_decoder_step_duration_seconds",
    "Wall time of batched denoising steps.",
    ["modality"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
DECODER_OLDEST_WAIT_SECONDS = Gauge(
    "motet_decoder_oldest_wait_seconds",
    "Age of the oldest job that waits for its first denoising step, before the last step.",
    ["modality"],
)
