"""Files that are whole or absent, locked, changed all at once, read without trust."""
