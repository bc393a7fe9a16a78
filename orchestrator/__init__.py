"""The orchestrator: requests become generations, run on workers that may be anywhere."""
