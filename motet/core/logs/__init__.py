"""Log lines: the parts that all processes share."""
