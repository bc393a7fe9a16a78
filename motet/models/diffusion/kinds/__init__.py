"""The kinds of diffusion model: one module for each `kind` that a manifest can name."""
