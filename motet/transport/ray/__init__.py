"""Calls to workers that Ray Serve runs: the messages, methods and errors of gRPC, carried by Ray."""
