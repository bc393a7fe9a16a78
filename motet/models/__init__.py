"""The networks: what encodes, what writes and what paints. The only package that runs torch at serve time."""
