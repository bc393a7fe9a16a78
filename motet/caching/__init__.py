"""Caches around workers, with single-flight: an LRU cache, shared streams, a caching encoder and a caching decoder."""
