"""The prompts of the language model: conversations to token ids and embeddings of media."""
