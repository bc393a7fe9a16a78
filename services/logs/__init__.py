"""The log lines of a process: their form, their levels, and limits."""
