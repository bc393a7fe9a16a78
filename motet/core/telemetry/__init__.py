"""The metrics of all processes, and the stages of requests. The client needs neither."""
