"""Checks of everything that can be known before the work of a command begins."""
