"""Configurations: a TOML file, or its keys in Python, as one validated object."""
