"""The kinds of diffusion model: one class for each `kind` a manifest may name."""
