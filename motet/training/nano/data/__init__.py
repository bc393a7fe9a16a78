"""The data of the recipes: embeddings, augmented media, and batches of tokens."""
