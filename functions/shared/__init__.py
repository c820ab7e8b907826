"""What every function carries: the event contract, logs, settings."""
