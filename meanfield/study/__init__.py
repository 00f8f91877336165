"""Studies: several flows on one task or landscape from one start, kept in one file, drawn and compared."""
