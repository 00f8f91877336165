"""The command line: one command per module, with lazy imports of heavy packages."""
