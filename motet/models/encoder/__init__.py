"""The encoder: ImageBind's networks, their preprocessing, and batches across requests."""
