"""Analysis of runs: observables, comparison with gradient descent, distances between snapshots."""
