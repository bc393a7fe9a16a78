"""The orchestrator service: the way in."""
