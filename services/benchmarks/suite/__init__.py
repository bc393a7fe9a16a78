"""The benchmarks: one module with a `measure` for each `motet bench` command."""
