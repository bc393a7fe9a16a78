"""The readers of files, one module per modality. Each module imports its codecs, so a child loads no other codec."""
