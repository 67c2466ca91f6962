"""What an operator sees of a running cluster: metrics for Prometheus, logs one line per event."""
