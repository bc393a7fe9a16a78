"""`motet up`: all services of a bundle as processes of this machine, which are restarted when they end."""
