"""Studies: several flows on one task from one start, kept in one file, drawn and compared."""
