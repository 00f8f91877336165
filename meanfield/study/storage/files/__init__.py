"""File utilities: atomic writes, locks, transactions with a journal, reading untrusted files."""
