"""The simulator: the real orchestrator on a virtual clock, with workers that take measured times."""
