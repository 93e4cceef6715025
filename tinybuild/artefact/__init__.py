"""What can be done with a bundle alone: verify it, make it again, make a recipe of a tiny model."""
