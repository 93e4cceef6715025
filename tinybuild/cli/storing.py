"""The command about the store: what it holds, what goes, and what may be taken from it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from tinybuild import network, wire
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session
from tinybuild.engine.stages import STAGES
from tinybuild.engine.stored import SECONDS, standing, why
from tinybuild.errors import RecipeFault, SourceFault
from tinybuild.paths import Json
from tinybuild.progress import size
from tinybuild.recipe import size as bytes_of
from tinybuild.store.far import Sweeping
from tinybuild.store.folder import Folder
from tinybuild.store.place import STORE, Place, place
from tinybuild.store.sweep import Bounds, Near, Swept, sweep, total
from tinybuild.workers import Bug, Limits

_AGE = re.compile(r"([0-9]+)([hdw])")
_UNITS = {"h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"[0-9]+(\.[0-9]+)?(B|kB|KB|MB|GB)")


def _store(here: Session, words: Sequence[str], options: Options) -> Lines:
    what, *rest = words or ["status"]
    if what == "sums":
        return (yield from _sums(here, rest))
    if what != "gc" and words:
        raise RecipeFault.of(f"there is no store {' '.join(words)}", hint="store gc, or store sums")
    store = place(os.environ, here.root)
    if store is None:
        yield f"the store is off ({STORE}={os.environ[STORE]})"
        return Answer(data={"store": "off"})
    if what == "gc":
        return (yield from _gc(here, store, rest, options))
    return (yield from _status(here, store))


def _status(here: Session, store: Place) -> Lines:
    entries, far = [*Near(Folder(store.folder)).held()], network.scrubbed(store.far)
    keys = {one.key for one in entries}
    ours = sum(kept.key in keys for _, kept in standing(here.root))
    yield f"folder   {store.folder}"
    if far:
        yield f"behind   {far}"
    may = "written to" if store.writes else "only read"
    yield f"mode     {may}{', entries that are signed off' if store.signed is not None else ''}"
    yield f"entries  {len(entries):,}, {ours:,} of them built in this folder"
    yield f"files    {size(total(entries))}"
    data: dict[str, Json] = {"folder": str(store.folder), "far": far, "writes": store.writes}
    return Answer(data={**data, "entries": len(entries), "here": ours, "bytes": total(entries)})


def _gc(here: Session, store: Place, zoos: Sequence[str], options: Options) -> Lines:
    if not store.writes and not store.far:
        raise RecipeFault.of("the store is only read here", hint="unset TINYBUILD_STORE_MODE")
    roots = [kept.key for root in _roots(here, zoos) for _, kept in standing(root)]
    bounds = Bounds(age=_age(options["age"]), size=_bytes(options["size"]), roots=roots)
    dry, now = bool(options["dry-run"]), time.time()
    near = sweep(Near(Folder(store.folder)), bounds, now, dry=dry)
    data = yield from _swept(near, "", dry=dry)
    if not store.far:
        return Answer(data=data)
    far = network.scrubbed(store.far)
    if not store.writes:
        yield f"{far}: only read here"
        return Answer(data={**data, "far": None})
    asked = Sweeping(url=store.far, bounds=bounds, now=now, dry=dry)
    behind = yield from _swept(_behind(here, asked, far), f"{far}: ", dry=dry)
    return Answer(data={**data, "far": behind})


def _behind(here: Session, asked: Sweeping, far: str) -> Swept:
    """What went from the store at a URL. Raises Fault."""
    limits = Limits(seconds=SECONDS)
    try:
        told = here.builder.pool.call("tinybuild.store.far:swept", asked, limits, "online")
    except (OSError, Bug) as error:
        hint = "check the URL, and the credentials that its client reads"
        raise SourceFault.of(f"{far} could not be swept: {why(error)}", hint=hint) from None
    return wire.load(Swept, told)


def _swept(swept: Swept, where: str, *, dry: bool) -> Generator[str, None, dict[str, Json]]:
    said = "would remove" if dry else "removed"
    yield f"{where}{said} {_entries(swept.entries)} and {size(swept.bytes)} of files"
    yield f"{where}left: {_entries(swept.left)}, {size(swept.left_bytes)}"
    return {
        "removed": swept.entries,
        "freed": swept.bytes,
        "entries": swept.left,
        "bytes": swept.left_bytes,
    }


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _roots(here: Session, zoos: Sequence[str]) -> Iterator[Path]:
    """The folders of which what was built stays in any case: this one, and those that are named."""
    yield here.root
    for zoo in zoos:
        if not (here.root / zoo / "build").is_dir():
            raise RecipeFault.of(f"nothing was built in {zoo}", hint="name folders of zoos")
        yield here.root / zoo


def _age(text: str) -> float | None:
    match = _AGE.fullmatch(text)
    if text and match is None:
        raise RecipeFault.of(f"--age {text} is not an age", hint="write 12h, 30d or 8w")
    return int(match[1]) * _UNITS[match[2]] if match is not None else None


def _bytes(text: str) -> int | None:
    if text and not _SIZE.fullmatch(text):
        raise RecipeFault.of(f"--size {text} is not a size", hint="write 500MB or 5GB")
    return bytes_of(text) if text else None


def _sums(here: Session, names: Sequence[str]) -> Lines:
    """A line for each stage that is built: what its entry must be, its key, and its name."""
    if here.fault is not None:
        raise here.fault
    recipes = here.named(names) if names else [*here.zoo.recipes]
    order = [*STAGES]
    told = dict[str, str]()
    for name in recipes:
        built = sorted(standing(here.root, name), key=lambda one: order.index(one[0].split(":")[0]))
        for task, kept in built:
            told[task] = f"{kept.sha256()}  {kept.key}"
            yield f"{told[task]}  {task}"
    if not told:
        raise RecipeFault.of("nothing of that is built", hint="build it, then sign it off")
    return Answer(data={**told})


STORE_COMMAND = Command(
    doc="what the store of finished stages holds; `store gc` removes from it",
    do=_store,
    words="[gc [ZOO ...] | sums [NAME ...]]",
    options={
        "age": Option(help="gc: entries that were not used for so long go", value="30d"),
        "size": Option(help="gc: the longest unused go until it has at most so much", value="5GB"),
        "dry-run": Option(help="gc: only say what would go"),
    },
    zoo=False,
    group="build",
    more="gc keeps what is built in this folder, and in those of the zoos that are named. sums\n"
    "prints a line for each stage that is built here: with TINYBUILD_STORE_SUMS=FILE only entries\n"
    "that such lines sign off are taken. TINYBUILD_STORE names the store: a folder, a URL, or off.",
)
