"""What a recipe asks for that cannot be, seen in seconds and without a build."""
