"""gRPC: what travels between Motet's processes, and how. Nothing in here knows a model."""
