"""One training command for each part of the nano bundle."""
