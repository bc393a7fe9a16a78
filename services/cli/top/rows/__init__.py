"""The rows of `motet top`: processes, pools, modalities and GPUs. Each is a value for the screen and for programs."""
