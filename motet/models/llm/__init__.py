"""The language model: continuous batching over a LLaMA, its adapter, its projections and its signal tokens."""
