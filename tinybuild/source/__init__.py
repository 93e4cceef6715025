"""Where upstream files come from: a wish is pinned to a fact, and only pins are fetched.

One table, `KINDS`, holds every kind of source. No kind fetches weights or code: only files that say
what a config or tokenizer is (`pins.WANTED`) are ever copied.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinybuild.errors import SourceFault
from tinybuild.files import PROVENANCE, RECEIPT, Memo, copy, inside, sha256
from tinybuild.source import folder, hub, modeltype, package, rows
from tinybuild.source.folder import local, stamps
from tinybuild.source.modeltype import blank_tokenizer
from tinybuild.source.pins import LISTS, Pin, Wish, fault, is_text, slot_key, title, useful, wanted
from tinybuild.workers import Job

__all__ = [
    "KINDS",
    "Kind",
    "Pin",
    "Wish",
    "blank_tokenizer",
    "fetch",
    "in_place",
    "is_text",
    "local",
    "look",
    "stamps",
    "wishes",
]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of source.

    look: what can be seen of the upstream without fetching it, as JSON data. The fetch runs again
    when this changes. It runs in the light process and must not import heavy libraries.
    resolve: wish -> Pin; raises SourceFault.
    locked: whether the pin is kept in NAME.lock.json, because others can change the upstream.
    """

    look: Callable[[Wish, Memo], Any]
    resolve: Callable[[Wish, Mapping[str, Any] | None, Path], Pin]
    locked: bool = False


def wishes(data: Mapping[str, Any], base: Path) -> tuple[Wish, ...]:
    """The wishes of a recipe, in the order source, tokenizer, dataset, files of text."""
    found = []
    for slot, holder in (("source", data), ("tokenizer", "tokenizer"), ("dataset", "dataset")):
        section = holder if isinstance(holder, Mapping) else data.get(holder, {})
        wish = section.get("source")
        if holder == "dataset" and "records" in section:
            wish = {"path": section["records"]}
        if wish is not None:
            kind = next(k for k in KINDS if k in wish)
            found.append(Wish(slot=slot, kind=kind, data=wish, base=base))
    for name in LISTS:
        items = data.get("tokenizer", {}).get(name)
        for number, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, Mapping) and "file" in item:
                wish = {"path": item["file"]}
                found.append(Wish(slot=f"{name}-{number}", kind="path", data=wish, base=base))
    return tuple(found)


def in_place(wish: Wish) -> bool:
    """Whether the stage reads the files where they are, without a fetch: a dataset may be large."""
    return wish.slot == "dataset" and wish.kind == "path"


def look(wish: Wish, memo: Memo) -> Any:
    return KINDS[wish.kind].look(wish, memo)


def fetch(job: Job) -> dict[str, Any]:
    """The fetch stage: every wish of the recipe into its own folder `out/SLOT/`.

    Settings: wishes (slot -> mapping), base (the recipe's folder below the
    zoo's), locks (slot -> facts), rows (where a dataset comes from the Hub: the recipe's dataset
    section, which says how much of it is needed).
    Facts: pins (slot -> facts); for a dataset from the Hub read ({bytes, limit, parts}).
    Raises SourceFault.
    """
    pins: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for slot, data in job.settings["wishes"].items():
        kind = next(k for k in KINDS if k in data)
        base, serves = job.root / job.settings["base"], None
        if slot == "tokenizer":
            serves = job.settings["wishes"].get("source", {}).get("transformers")
        wish = Wish(slot=slot, kind=kind, data=data, base=base, serves=serves)
        lock = job.settings["locks"].get(slot)
        if kind == "hub" and slot == "dataset":
            section, place = job.settings["rows"], job.out / slot
            pins[slot], more["read"] = rows.fetch(wish, section, lock, place, job.seed)
            continue
        if kind == "recipe":
            pin = _recipe(wish, job.inputs)
        else:
            pin = KINDS[kind].resolve(wish, lock, job.out / slot)
        files = {}
        for name, get in sorted(pin.files.items()):
            target = inside(job.out / slot, name)
            path = get()
            if path != target:
                copy(path, target)
            files[name] = {"sha256": sha256(target), "size": target.stat().st_size}
        if lock is not None:
            _hold(wish, lock, files)
        pins[slot] = {"wish": dict(data), **pin.facts, "files": files}
    return {"pins": pins, **more}


def _hold(wish: Wish, lock: Mapping[str, Any], files: Mapping[str, Any]) -> None:
    """Refuse files that are not the locked ones."""
    for name in sorted({*lock["files"], *files}):
        locked, found = lock["files"].get(name), files.get(name)
        if locked == found:
            continue
        if found is None:
            what = f"{name} is in the lock but not in {title(wish)}"
        elif locked is None:
            what = f"{name} is in {title(wish)} but not in the lock"
        else:
            what = (
                f"{name} of {title(wish)} is not the locked one "
                f"(sha256 {found['sha256'][:12]}, locked {locked['sha256'][:12]})"
            )
        raise SourceFault.of(
            what,
            key=(*slot_key(wish), wish.kind),
            hint="delete the recipe's .lock.json to accept what is there now",
        )


# --- recipe: another recipe of this zoo -----------------------------------------------------------


def _recipe(wish: Wish, inputs: Mapping[str, Path]) -> Pin:
    """The config and tokenizer files that another recipe's model and tokenizer stages left; for a
    dataset those of its dataset stage."""
    files: dict[str, Callable[[], Path]] = {}
    suffixes, _ = useful(wish)
    for stage in ("tokenizer", "model", "dataset"):
        made = inputs.get(f"{wish.slot}.{stage}")
        for path in sorted(made.rglob("*")) if made is not None else ():
            name = path.relative_to(made or path).as_posix()
            if path.is_file() and wanted(name, suffixes) and name not in (RECEIPT, PROVENANCE):
                files[name] = functools.partial(Path, path)
    if not files:
        name = wish.data["recipe"]
        makes = "no dataset" if wish.slot == "dataset" else "neither a model nor a tokenizer"
        raise fault(wish, f"the recipe {name} makes {makes}")
    return Pin(facts={}, files=files)


def _unreachable(wish: Wish, lock: Mapping[str, Any] | None, out: Path) -> Pin:
    raise AssertionError("fetch gives recipe wishes their inputs")


KINDS: dict[str, Kind] = {
    "hub": Kind(look=hub.look, resolve=hub.resolve, locked=True),
    "path": Kind(look=folder.look, resolve=folder.resolve),
    "package": Kind(look=package.look, resolve=package.resolve, locked=True),
    "transformers": Kind(look=modeltype.look, resolve=modeltype.resolve),
    "recipe": Kind(look=lambda wish, memo: None, resolve=_unreachable),
}
