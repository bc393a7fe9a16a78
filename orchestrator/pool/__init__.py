"""The replicas of each worker behind the protocol of one: queue, choice, retry."""
