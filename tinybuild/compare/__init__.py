"""Two bundles become what differs between them and why, as types, JSON and Markdown.

`compare(name, Side.of(folder), Side.of(folder))` gives a `Comparison`; `markdown` tells several of
them, and `tinybuild.wire.dump` makes JSON data of one.
"""

from tinybuild.compare.bundles import Side, compare
from tinybuild.compare.differences import Cause, Comparison
from tinybuild.compare.markdown import markdown, summary

__all__ = ["Cause", "Comparison", "Side", "compare", "markdown", "summary"]
