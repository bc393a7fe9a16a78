"""The replicas of the orchestrator's pools: fixed addresses, and sources whose replicas change."""
