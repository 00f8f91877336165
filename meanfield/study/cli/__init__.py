"""The command line: one command in each module, which imports what is heavy when it is needed."""
