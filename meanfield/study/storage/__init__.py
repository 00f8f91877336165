"""Storage of runs: the layout of files, their writer and readers, checkpoints."""
