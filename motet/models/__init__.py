"""The encoder, the language model and the diffusion decoders: the only package that runs torch at serving time."""
