"""Rows of a dataset of the Hugging Face Hub: only the files, or parts of them, that are needed.

What is fetched lies in one folder with a layout.json, which says how to read it; whoever reads it
need not know of the Hub. {"version": 1, "configs": {CONFIG: {"module", "options", "features",
"splits": {SPLIT: [files]}}}, "default": CONFIG, "about": {license, ...}, "rows": {PART: "1,4-10"},
"read": {bytes, limit, parts}}. `rows` says, for parts of the recipe (`Part.made`), which rows of
what lies here were chosen (numbers from 1), where the numbers of the recipe, or a draw among all
rows of the source, would mean nothing here: these are to be taken instead of samples, select and
rows. `read` is what the facts say too.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybuild.dataset.parts import Part, parts
from tinybuild.errors import Fault, SourceFault
from tinybuild.files import pretty
from tinybuild.source.contents import (
    CONVERTED,
    LARGEST_CARD,
    Config,
    Contents,
    about,
    metadata,
)
from tinybuild.source.groups import Groups, choose
from tinybuild.source.hub import ask
from tinybuild.source.kinds import Request
from tinybuild.source.pins import Listed, Pin, Wish, fault, title
from tinybuild.source.shards import Shards, first
from tinybuild.source.upstream import Spent, Upstream

LAYOUT = "layout.json"


def fetch(request: Request) -> tuple[Pin, dict[str, Any]]:
    """Fetch the rows that a dataset section asks for into `out`; the pin, and what was read.

    The section's source says max_read in bytes. Read: bytes, limit (bytes), parts ([{config,
    split, rows looked at, of how many}], as far as known). Raises SourceFault.
    """
    wish, lock, out, seed = request.wish, request.lock, request.out, request.seed
    section: Any = request.rows
    commit, files = _listed(wish, lock)
    if lock is not None:
        _unchanged(wish, lock, files)
    upstream = Upstream(wish, commit, files, section["source"]["max_read"])
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".hub-") as name:
        scratch = Path(name)
        try:
            card = _card_commit(wish, lock)
            layout, looked = _fetch(wish, section, upstream, out, scratch, seed, card)
        except Spent:
            raise SourceFault.of(
                f"max_read ({upstream.limit:,} bytes) is spent before the rows asked for were read",
                key=("dataset", "source", "max_read" if "max_read" in wish.data else "hub"),
                hint="raise dataset.source.max_read, or ask for fewer rows",
            ) from None
    read = {"bytes": upstream.bytes, "limit": upstream.limit, "parts": looked}
    (out / LAYOUT).write_text(pretty({**layout, "read": read}), encoding="utf-8")
    facts = {"commit": commit} if card is None else {"commit": commit, "card": card}
    pin = Pin(wish=wish.data, facts=facts, files=upstream.pinned())
    if lock is not None:
        _hold(wish, lock, pin)
    return pin, read


# --- what there is, and the lock ------------------------------------------------------------------


def _listed(wish: Wish, lock: Pin | None) -> tuple[str, dict[str, Listed]]:
    """The commit, and its files as the Hub lists them."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    repo, revision = wish.text(), wish.text("revision", "main")
    api = HfApi()
    if lock is not None:
        commit = lock.facts["commit"]
    else:
        commit = str(ask(wish, lambda: api.dataset_info(repo, revision=revision)).sha)
    options: dict[str, Any] = {"repo_type": "dataset", "revision": commit, "recursive": True}
    found = ask(wish, lambda: list(api.list_repo_tree(repo, **options)))
    files = {
        entry.path: Listed(
            size=entry.lfs.size if entry.lfs else entry.size,
            oid=entry.lfs.sha256 if entry.lfs else entry.blob_id,
        )
        for entry in found
        if isinstance(entry, RepoFile)
    }
    return commit, files


def _card_commit(wish: Wish, lock: Pin | None) -> str | None:
    """The commit of the main branch, for the card that the branch of the Hub's Parquet lacks."""
    from huggingface_hub import HfApi

    if wish.data.get("revision") != CONVERTED:
        return None
    if lock is not None and "card" in lock.facts:
        return lock.facts["card"]
    return str(ask(wish, lambda: HfApi().dataset_info(wish.text())).sha)


def _said(wish: Wish, card: str | None, upstream: Upstream) -> dict[str, Any]:
    """What the card at another commit says; its bytes count as the others do."""
    import yaml
    from huggingface_hub import HfApi

    if card is None:
        return {}
    repo, name = wish.text(), "README.md"
    options: dict[str, Any] = {"repo_type": "dataset", "revision": card}
    found = ask(wish, lambda: HfApi().get_paths_info(repo, [name], **options))
    if not found or found[0].size > LARGEST_CARD:
        return {}
    listed = Listed(size=found[0].size, oid=found[0].blob_id)
    other = Upstream(wish, card, {name: listed}, upstream.left)
    text = other.read(name, 0, listed.size).decode(errors="replace")
    upstream.bytes += other.bytes
    try:
        return about(metadata(text), text)
    except (ValueError, TypeError, yaml.YAMLError):
        return {}  # its rows can be read all the same


def _unchanged(wish: Wish, lock: Pin, files: Mapping[str, Listed]) -> None:
    """Refuse a commit whose files are no longer listed as the locked ones."""
    for name, entry in sorted(lock.files.items()):
        if name not in files:
            what = f"{name} is in the lock but not in {title(wish)}"
        elif entry.whole != files[name]:
            what = f"{name} of {title(wish)} is not the locked one"
        else:
            continue
        raise fault(wish, what, "delete the recipe's .lock.json to accept what is there now")


def _hold(wish: Wish, lock: Pin, pin: Pin) -> None:
    """Refuse bytes that are not the locked ones, wherever the same ranges were read."""
    for name, entry in pin.files.items():
        known = lock.files[name].ranges if name in lock.files else {}
        if any(known.get(place, digest) != digest for place, digest in entry.ranges.items()):
            raise fault(
                wish,
                f"{name} of {title(wish)} is not the locked one",
                "delete the recipe's .lock.json to accept what is there now",
            )


# --- fetching -------------------------------------------------------------------------------------


def _fetch(
    wish: Wish,
    section: Mapping[str, Any],
    upstream: Upstream,
    out: Path,
    scratch: Path,
    seed: int,
    card: str | None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    shown = scratch / re.sub(r"\W", "_", wish.text().rpartition("/")[2])
    shown.mkdir()
    sizes = {name: listed.size for name, listed in upstream.files.items()}
    contents = Contents(
        wish, upstream.files, sizes, shown, lambda name: upstream.read(name, 0, sizes[name])
    )
    wanted: dict[tuple[str, str], list[Part]] = {}
    configs: dict[str, Config] = {}
    for part in parts(section):
        name, split = part.named(contents, contents.default)
        configs[name] = contents.config(name)
        wanted.setdefault((name, split), []).append(part)
    layout: dict[str, Any] = {
        "version": 1,
        "configs": {},
        "default": contents.default if contents.default in configs else None,
        "about": {**_said(wish, card, upstream), **contents.about()},
        "rows": {},
    }
    looked = []
    used = {LAYOUT}
    parts_left = sum(map(len, wanted.values()))
    for number, ((name, split), own) in enumerate(wanted.items()):
        config = configs[name]
        entry = layout["configs"].setdefault(
            name,
            {
                "module": config.module,
                "options": dict(config.options),
                "features": config.features,
                "splits": {},
            },
        )
        place = scratch / str(number)
        place.mkdir()
        names = config.splits[split]
        # A file that another config has too: other rows of it may be wanted there.
        inner = f"again-{number}/" if used.intersection(names) else ""
        used.update(names)
        target = out / inner
        if config.module == "parquet" and all(n.endswith(".parquet") for n in names):
            groups = Groups(upstream, names, place)
            found = []
            for part in own:
                until = upstream.bytes + upstream.left // parts_left
                drawn = f"{seed}/{section.get('seed', '')}/{part.made}"
                try:
                    chosen, seen = choose(groups, part, until, drawn)
                except Fault as fault:
                    raise part.place(fault) from None
                found.append((part, chosen))
                parts_left -= 1
                if seen.get("of") is None and split in config.rows:
                    seen = {**seen, "of": config.rows[split]}
                looked.append({"config": name, "split": split, **_known(seen)})
            kept = groups.write(target)
            for part, chosen in found:
                if chosen is not None:
                    layout["rows"][part.made] = groups.local(chosen)
        else:
            share = upstream.left * len(own) // parts_left
            parts_left -= len(own)
            kept, module = _other(upstream, config, names, own, section, target, share)
            entry["module"] = module
            seen = {"shards": len(kept), "of_shards": len(names), "of": config.rows.get(split)}
            looked.append({"config": name, "split": split, **_known(seen)})
        entry["splits"][split] = [inner + file for file in kept]
    return layout, looked


def _known(seen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in seen.items() if value is not None}


def _other(
    upstream: Upstream,
    config: Config,
    names: tuple[str, ...],
    own: list[Part],
    section: Mapping[str, Any],
    out: Path,
    share: int,
) -> tuple[tuple[str, ...], str]:
    """Files of other formats: the first records where that is enough, else whole files."""
    shards = Shards(upstream, names, out)
    options = dict(config.options)
    if "sample_by" in section["source"]:
        options["sample_by"] = section["source"]["sample_by"]
    wanted, module = first(own), config.module
    if module in ("imagefolder", "audiofolder"):
        return shards.all(own), module
    if wanted is not None:
        lines = shards.lines(wanted, module, options)
        if lines is not None:
            return lines, module
        tars = shards.tars(wanted, module) if module in ("webdataset", "archive") else None
        if tars is not None:
            return tars
    how = "first" if wanted is not None else own[0].wish.get("select", "first")
    kept = shards.whole(how, share, own)
    return kept, "archive" if shards.packed_texts(kept) else module
