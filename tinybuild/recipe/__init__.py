"""YAML with places, checked, in words; locks.

Light: `reading`, which reads a recipe's text, is imported where one must be read.
"""

from tinybuild.recipe.cache import Cache
from tinybuild.recipe.units import amount, size
from tinybuild.recipe.wish import Broken, Recipe

__all__ = ["Broken", "Cache", "Recipe", "amount", "size"]
