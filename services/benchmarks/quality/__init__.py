"""The evaluation of the nano bundle. It needs a source checkout with the extra for training."""
