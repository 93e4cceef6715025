"""tinybuild builds tiny models, tokenizers and datasets from recipes."""

__version__ = "0.1.0"
