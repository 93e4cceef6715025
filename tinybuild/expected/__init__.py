"""What a bundle's model gives for sample inputs: the two files, and how others are held to them."""
