"""Recipes: YAML with places, checked against the contract, all findings at once in words; locks."""

from tinybuild.recipe.cache import Cache
from tinybuild.recipe.reading import Broken, Recipe, locate, read
from tinybuild.recipe.units import amount, size

__all__ = ["Broken", "Cache", "Recipe", "amount", "locate", "read", "size"]
