"""The pages of a zoo: what was built becomes HTML that needs no network and no server."""
