"""The orchestrator's process: its gRPC servicers, its settings, and the pools of workers it is wired to."""
