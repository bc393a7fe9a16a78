"""The command line: one file for each command, and the parts that commands share."""
