"""The replicas that may get calls, and the share of their slots that a tenant may take."""
