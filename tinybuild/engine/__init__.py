"""Recipes and locks become tasks; each is done when it must be, and leaves a receipt."""
