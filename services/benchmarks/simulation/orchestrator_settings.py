"""Settings of an orchestrator on a virtual clock."""

from __future__ import annotations

from orchestrator.settings import MAX_SECONDS, OrchestratorSettings


def simulated_settings(queue_seconds: float, wait_for_replicas: bool = False) -> OrchestratorSettings:
    """Return settings whose stores and time limits do not end a simulation of any length."""
    # Stores expire entries by the real clock, which hardly advances here. Limits of number and bytes apply.
    return OrchestratorSettings(
        queue_seconds=queue_seconds,
        max_generations=10**6,
        max_results=100,
        max_duration=MAX_SECONDS,
        media_job_timeout=MAX_SECONDS,
        wait_for_replicas=wait_for_replicas,
    )
