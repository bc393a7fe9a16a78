"""Benchmarks of numbers of replicas: `scaling`, those that follow the demand, and `size`, the fewest that suffice."""
