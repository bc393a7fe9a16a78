"""What Motet costs and gains, measured: `motet bench`."""
