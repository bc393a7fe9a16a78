"""Tracing: spans of recorded workers, critical paths, wasted work, and bare stubs as the baseline."""
