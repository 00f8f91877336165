"""What a configuration is refused for before anything runs: its file has groups of its own, and reads no more than so much."""

MAX_CONFIG = 2**18  # characters
LONGEST_NAME = 100  # characters, of a process
OWN_NAMES = ("config", "comparison")  # beside the processes in the file
