"""Numbers that are the same on every machine, whatever its CPU and however many threads."""
