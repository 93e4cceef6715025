"""A bundle becomes a repository of the Hub, or a pull request to one.

Each function here is what a worker that may reach the network is asked to do.
"""

from tinybuild.publish.collections import Listed, Listing, collect
from tinybuild.publish.hub import publish
from tinybuild.publish.target import Change, Origin, Published, Target

__all__ = [
    "Change",
    "Listed",
    "Listing",
    "Origin",
    "Published",
    "Target",
    "collect",
    "publish",
]
