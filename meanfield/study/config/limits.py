"""Limits of configurations, given by the file format: names and sizes."""

MAX_CONFIG = 2**18  # characters
LONGEST_NAME = 100  # characters, of a process
OWN_NAMES = ("config", "comparison")  # of the file, beside the processes
