"""The conversations that the nano language model learns from."""
