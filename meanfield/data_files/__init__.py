"""Readers of data files that may come from anybody: what a file says of itself is checked before it is believed."""
