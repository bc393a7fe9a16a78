"""The callers of a server: authentication of their credentials, and authorization of their calls."""
