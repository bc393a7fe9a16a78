"""Traces of recorded workers: spans, critical paths and wasted work, and the bare stubs they are held against."""
