"""TLS of listeners and channels: certificates from files, which are read again while the process runs."""
