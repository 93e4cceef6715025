"""What workflows say and propose at GitHub: one comment on a pull request, a few pull requests."""
