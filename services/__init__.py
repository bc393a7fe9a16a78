"""The processes that Motet runs as, and its command line: where everything is put together."""
