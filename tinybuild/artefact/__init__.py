"""What can be done with a bundle alone, wherever it lies: verify it, make it again, and make a
recipe for a tiny model that has none."""
