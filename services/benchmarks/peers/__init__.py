"""Other engines that run the same language model: vLLM, and `generate` of transformers."""
