"""A simulator: the real orchestrator on a virtual clock, with workers as slow as measured ones."""
