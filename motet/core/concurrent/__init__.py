"""Helpers that run several coroutines at the same time."""
