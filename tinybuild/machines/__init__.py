"""Recipes are built by workers of Dask: dealt out, sent as data, and their outcome read."""
