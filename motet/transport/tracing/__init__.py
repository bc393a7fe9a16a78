"""The trace of a request across the calls of gRPC and of Ray."""
