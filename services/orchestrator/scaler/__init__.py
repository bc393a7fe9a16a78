"""KEDA's external scaler: the demand of the orchestrator's pools, for the number of their replicas."""
