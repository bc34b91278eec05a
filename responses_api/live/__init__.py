"""Look at what all workers are running, and stop a call wherever it runs."""
