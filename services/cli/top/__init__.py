"""`motet top`: the processes, pools and modalities of a deployment, as their metrics describe them now."""
