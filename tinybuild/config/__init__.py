"""A smaller config: a recipe's overrides, and ids and sizes that follow the tokenizer."""
