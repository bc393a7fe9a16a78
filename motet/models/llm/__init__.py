"""The language model: a LLaMA with continuous batching, its adapter, its projections and its signal tokens."""
