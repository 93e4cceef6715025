"""A dataset repository of the Hugging Face Hub: pinned, and opened by ranges.

Which rows are read of it, and how, is `dataset.partial`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinybuild import wire
from tinybuild.errors import Fault
from tinybuild.files import remove
from tinybuild.paths import Data, Json
from tinybuild.source.hub import Listing, ask, head
from tinybuild.source.kinds import Request
from tinybuild.source.pins import Listed, Pin, Wish, fault, title
from tinybuild.source.ranges import Ranges
from tinybuild.source.refusal import Address, Refused
from tinybuild.source.upstream import Upstream

CONVERTED = "refs/convert/parquet"  # the branch in which the Hub keeps every dataset as Parquet
_CONVERTED_FILE = re.compile(r"([^/]+)/(?:partial-)?([^/]+)/\d{4}\.parquet")
README = "README.md"


def fetch(request: Request) -> tuple[Pin, Data]:
    """Fetch the rows that the recipe's dataset section asks for; the pin, and what was read.

    Where something is wrong with what was kept on this machine, it is fetched anew: bytes that were
    damaged on their way may have been kept.
    """
    from huggingface_hub import constants

    from tinybuild.dataset.ranged import Spent

    folder = Path(constants.HF_HOME) / "tinybuild"
    held = Ranges(folder)
    try:
        return _fetch(request, held)
    except Refused:
        raise
    except Fault as fault:
        if not held.served or isinstance(fault.__context__, Spent):
            raise
        remove(request.out)
        try:
            return _fetch(request, Ranges(folder, fresh=True))
        except Fault:
            raise fault from None


def _fetch(request: Request, held: Ranges) -> tuple[Pin, Data]:
    from tinybuild.dataset import partial  # not for a doit with nothing to do

    wish, lock = request.wish, request.lock
    address = Address.of(request)
    told = head(address, address.revision, files=False).facts if lock is None else lock.facts
    facts, commit = dict(told), told["commit"]
    files = _listed(address, commit, held)
    if lock is not None:
        _unchanged(request, lock, files)
    source = request.rows["source"]
    assert isinstance(source, Mapping)
    limit = source["max_read"]
    assert isinstance(limit, int)
    upstream = Upstream(address, commit, files, limit, held)
    upstream.configs = _converted(wish, files)
    if wish.data.get("revision") == CONVERTED:
        facts["card"] = _card_commit(address, lock)
        upstream.about = _said(address, facts["card"], upstream)
    read = partial.fetch(upstream, request.rows, request.out, request.seed)
    pin = Pin(wish=wish.data, facts=facts, files=upstream.pinned())
    if lock is not None:
        _hold(request, lock, pin)
    return pin, read


def _listed(
    address: Address, commit: str, held: Ranges, only: Sequence[str] = ()
) -> Mapping[str, Listed]:
    """The files of a commit as the Hub lists them; `only` these, where they are named."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api, asked = HfApi(), {"repo_type": "dataset", "revision": commit}

    def question() -> Json:
        if only:
            entries = api.get_paths_info(address.repo, list(only), **asked)
        else:
            entries = list(api.list_repo_tree(address.repo, recursive=True, **asked))
        files = ((entry.path, entry) for entry in entries if isinstance(entry, RepoFile))
        said: Json = wire.dump(Listing.of(files))
        return said

    name = "+".join([f"datasets/{address.repo}/{commit}", *only])
    said = held.told(name, lambda: ask(address, question))
    return wire.load(Listing, said).files


def _unchanged(request: Request, lock: Pin, files: Mapping[str, Listed]) -> None:
    """Refuse a commit whose files are no longer listed as the locked ones."""
    wish = request.wish
    for name, entry in sorted(lock.files.items()):
        if name not in files:
            what = f"{name} is in the lock but not in {title(wish)}"
        elif entry.whole != files[name]:
            what = f"{name} of {title(wish)} is not the locked one"
        else:
            continue
        raise fault(wish, what, request.anew)


def _hold(request: Request, lock: Pin, pin: Pin) -> None:
    """Refuse bytes that are not the locked ones, wherever the same ranges were read."""
    wish = request.wish
    for name, entry in pin.files.items():
        known = lock.files[name].ranges if name in lock.files else {}
        if any(known.get(place, digest) != digest for place, digest in entry.ranges.items()):
            raise fault(wish, f"{name} of {title(wish)} is not the locked one", request.anew)


# --- the branch of the Hub's own Parquet ----------------------------------------------------------


def _converted(wish: Wish, names: Mapping[str, Listed]) -> list[Data]:
    """The configs of the branch refs/convert/parquet, which has no card that says them."""
    if README in names and wish.data.get("revision") != CONVERTED:
        return []
    configs: dict[str, dict[str, list[str]]] = {}
    for name in sorted(names):
        match = _CONVERTED_FILE.fullmatch(name)
        if match:
            configs.setdefault(match[1], {}).setdefault(match[2], []).append(name)
        elif name.endswith(".parquet"):
            return []
    return [
        {
            "config_name": config,
            "data_files": [{"split": split, "path": paths} for split, paths in splits.items()],
        }
        for config, splits in configs.items()
    ]


def _card_commit(address: Address, lock: Pin | None) -> str:
    """The commit of the main branch, for the card that the branch of the Hub's Parquet lacks."""
    if lock is not None and "card" in lock.facts:
        return lock.facts["card"]
    return head(address, "main", files=False).commit


def _said(address: Address, commit: str, upstream: Upstream) -> Data:
    """What the card at another commit says; its bytes count as the others do."""
    from tinybuild.dataset import card, partial

    held = upstream.held
    listed = _listed(address, commit, held, [README]).get(README)
    if listed is None or listed.size > partial.LARGEST_CARD:
        return {}
    other = Upstream(address, commit, {README: listed}, upstream.limit - upstream.used, held)
    text = other.read(README, 0, listed.size).decode(errors="replace")
    upstream.used += other.used
    return card.told(text)
