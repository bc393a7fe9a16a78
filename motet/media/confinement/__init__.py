"""The layers that confine a decoding child. The kernel enforces them, and the child cannot lift them."""
