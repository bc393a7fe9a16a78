"""The denoising task of each modality: its network and its training data."""
