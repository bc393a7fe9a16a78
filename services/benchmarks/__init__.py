"""Benchmarks of `motet bench`."""
