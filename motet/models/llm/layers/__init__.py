"""The building blocks of the network: packed attention over the KV cache, the LLaMA layer, and linear layers."""
