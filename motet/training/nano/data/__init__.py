"""What the recipes read: embeddings, augmented media, and batches of tokens."""
