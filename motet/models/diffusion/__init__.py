"""The diffusion decoders: an engine that batches denoising steps of many jobs, and the kinds of model."""
