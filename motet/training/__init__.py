"""The training of a bundle: data, stages and loops. No serving process imports this package."""
