"""Judges of the nano bundle. They run beside a checkout alone."""
