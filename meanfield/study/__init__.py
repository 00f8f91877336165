"""Runs and studies: several flows on one task or landscape from one start, stored in one file, drawn and compared."""
