"""The GPU of a worker: its readings by NVML, and the seconds that batches occupy it."""
