"""A collection of the Hub that lists what a zoo published."""

from __future__ import annotations

from dataclasses import dataclass

from tinybuild.publish.asking import persistently
from tinybuild.publish.target import Kind


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A collection's owner and title, and the repositories that have to be in it."""

    owner: str
    title: str
    private: bool
    items: tuple[tuple[Kind, str], ...]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What was added to a collection, and where that is."""

    title: str
    url: str
    added: tuple[str, ...]


def collect(listing: Listing) -> Listed:
    """Let a collection hold the repositories; it is made where there is none with that title."""
    return persistently(listing.owner, lambda: _collect(listing))


def _collect(listing: Listing) -> Listed:
    from huggingface_hub import HfApi

    api = HfApi()
    known = (c for c in api.list_collections(owner=listing.owner) if c.title == listing.title)
    found = next(known, None)
    if found is None:
        found = api.create_collection(
            listing.title, namespace=listing.owner, private=listing.private, exists_ok=True
        )
    else:
        found = api.get_collection(found.slug)  # a list of collections names four items of each
    have = {(item.item_type, item.item_id) for item in found.items}
    missing = [item for item in listing.items if item not in have]
    for kind, repo in missing:
        api.add_collection_item(found.slug, item_id=repo, item_type=kind, exists_ok=True)
    return Listed(title=found.title, url=found.url, added=tuple(repo for _, repo in missing))
