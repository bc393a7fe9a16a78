"""Workers as applications of Ray Serve, and a local cluster of Ray."""
