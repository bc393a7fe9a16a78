"""Quotas of tenants: what one tenant may use, in units of work."""
