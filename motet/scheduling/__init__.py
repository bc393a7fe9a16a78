"""The order in which waiting work is served, and estimates of how long work takes."""
