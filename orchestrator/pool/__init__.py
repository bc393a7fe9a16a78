"""Pools of replicas behind the protocol of a single worker: queue, choice of a replica, retry."""
