"""Readers of untrusted data files: what a file declares about itself is checked before it is used."""
