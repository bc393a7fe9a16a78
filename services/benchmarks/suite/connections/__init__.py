"""The cost of the connections between callers and services."""
