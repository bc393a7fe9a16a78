"""What the log lines of all processes have in common."""
