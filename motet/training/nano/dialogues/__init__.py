"""The dialogues that the nano language model learns from."""
