"""Work that is done once: shared streams, an LRU cache, and workers that return results they already have."""
