"""Execution of runs: building, starting, measuring, stopping, resuming."""
