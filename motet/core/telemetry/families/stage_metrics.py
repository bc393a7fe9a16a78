"""The metrics of the stages of requests."""

from __future__ import annotations

from prometheus_client import Histogram

STAGE_SECONDS = Histogram(
    "motet_stage_duration_seconds",
    "Wall time of a stage of one request's work, including the time in which the stage waits for others. A stage that "
    "failed or was cancelled counts, too.",
    ["component", "stage", "modality"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
