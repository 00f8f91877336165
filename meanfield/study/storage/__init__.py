"""What is kept of a run: the layout of its file, its writer, its readers, its checkpoints."""
