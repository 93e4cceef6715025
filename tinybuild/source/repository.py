"""A dataset repository of the Hugging Face Hub: pinned, and opened by ranges.

Which rows are read of it, and how, is `dataset.partial`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tinybuild.paths import Data
from tinybuild.source.hub import ask
from tinybuild.source.kinds import Request
from tinybuild.source.pins import Listed, Pin, Wish, fault, title
from tinybuild.source.refusal import Address
from tinybuild.source.upstream import Upstream

CONVERTED = "refs/convert/parquet"  # the branch in which the Hub keeps every dataset as Parquet
_CONVERTED_FILE = re.compile(r"([^/]+)/(?:partial-)?([^/]+)/\d{4}\.parquet")
README = "README.md"


def fetch(request: Request) -> tuple[Pin, Data]:
    """Fetch the rows that the recipe's dataset section asks for; the pin, and what was read."""
    from tinybuild.dataset import partial  # not for a doit with nothing to do

    wish, lock = request.wish, request.lock
    address = Address.of(request)
    commit, files = _listed(address)
    if lock is not None:
        _unchanged(request, lock, files)
    source = request.rows["source"]
    assert isinstance(source, Mapping)
    limit = source["max_read"]
    assert isinstance(limit, int)
    upstream = Upstream(address, commit, files, limit)
    upstream.configs = _converted(wish, files)
    facts = {"commit": commit}
    if wish.data.get("revision") == CONVERTED:
        facts["card"] = _card_commit(address, lock)
        upstream.about = _said(address, facts["card"], upstream)
    read = partial.fetch(upstream, request.rows, request.out, request.seed)
    pin = Pin(wish=wish.data, facts=facts, files=upstream.pinned())
    if lock is not None:
        _hold(request, lock, pin)
    return pin, read


def _listed(address: Address) -> tuple[str, dict[str, Listed]]:
    """The commit, and its files as the Hub lists them."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    repo, commit = address.repo, address.commit or head(address, address.revision)
    tree = ask(
        address,
        lambda: list(
            HfApi().list_repo_tree(repo, repo_type="dataset", revision=commit, recursive=True)
        ),
    )
    files = {
        entry.path: Listed(
            size=entry.lfs.size if entry.lfs else entry.size,
            oid=entry.lfs.sha256 if entry.lfs else entry.blob_id,
        )
        for entry in tree
        if isinstance(entry, RepoFile)
    }
    return commit, files


def head(address: Address, revision: str) -> str:
    """The commit that a dataset's revision is at now: one request."""
    from huggingface_hub import HfApi, constants

    seconds = constants.HF_HUB_DOWNLOAD_TIMEOUT
    info = ask(
        address,
        lambda: HfApi().dataset_info(address.repo, revision=revision, timeout=seconds),
    )
    return str(info.sha)


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
    return head(address, "main")


def _said(address: Address, commit: str, upstream: Upstream) -> Data:
    """What the card at another commit says; its bytes count as the others do."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    from tinybuild.dataset import card, partial

    repo = address.repo
    paths = ask(
        address,
        lambda: HfApi().get_paths_info(repo, [README], repo_type="dataset", revision=commit),
    )
    if not paths or not isinstance(paths[0], RepoFile) or paths[0].size > partial.LARGEST_CARD:
        return {}
    listed = Listed(size=paths[0].size, oid=paths[0].blob_id)
    other = Upstream(address, commit, {README: listed}, upstream.limit - upstream.used)
    text = other.read(README, 0, listed.size).decode(errors="replace")
    upstream.used += other.used
    return card.told(text)
