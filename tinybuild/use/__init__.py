"""Bundles in people's tests and scripts: found, built, loaded, copied, under the Hub's names."""
