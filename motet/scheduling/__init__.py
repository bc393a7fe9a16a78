"""Fair queueing between tenants, and a moving average."""
