"""The events of a generation: their log, and their form after its end."""
