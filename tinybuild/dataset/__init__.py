"""A smaller dataset: rows from anywhere, chosen and made small, as Parquet with a card.

Light: reading a recipe asks some of its modules, so this one imports none; `stage` is the work.
"""
