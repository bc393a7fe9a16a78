"""`motet bench`: the benchmarks, and the tables of their reports."""
