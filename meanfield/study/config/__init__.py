"""What was asked for: a TOML file, or its keys in Python, as one object that has been checked."""
