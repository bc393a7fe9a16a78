"""`motet keys`: the API keys of an orchestrator."""
