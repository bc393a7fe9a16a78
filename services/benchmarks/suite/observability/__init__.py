"""The cost of observability, and its agreement with what callers see."""
