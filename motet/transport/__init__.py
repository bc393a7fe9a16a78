"""gRPC between Motet's processes: messages, statuses, channels, servers. Nothing here knows a model."""
