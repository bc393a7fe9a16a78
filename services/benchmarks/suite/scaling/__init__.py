"""Benchmarks of numbers of replicas: those that follow the demand, the fewest that suffice, and very many."""
