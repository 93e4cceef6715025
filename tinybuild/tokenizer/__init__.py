"""A smaller tokenizer: one module an algorithm or a format, and a table of the methods."""
