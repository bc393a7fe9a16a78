"""The benchmarks: each module has a function `measure` that returns a report."""
