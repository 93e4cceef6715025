"""What the bundles of a zoo can do: a row each, from what the bundle holds, and queries of them."""
