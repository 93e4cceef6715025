"""Where upstream files come from: a wish is pinned to a fact, and only pins are fetched.

One table, `KINDS`, holds every kind of source; each says all of itself (`kinds.Kind`). No kind
fetches weights or code: only files that say what a config or tokenizer is (`pins.WANTED`) are ever
copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from tinybuild import named
from tinybuild.errors import Fault, SourceFault
from tinybuild.files import POINTER, PUSH, Memo, copy, inside, is_pointer, sha256
from tinybuild.paths import Data, Json, mapping
from tinybuild.reading import reading
from tinybuild.sections import Sections
from tinybuild.source import another, folder, hub, modeltype, package, repository
from tinybuild.source.family import blank_tokenizer
from tinybuild.source.kinds import Kind, Request, Resolved
from tinybuild.source.pins import LISTS, Entry, Pin, Wish, fault, is_text, slot_key, title
from tinybuild.workers import Job

__all__ = [
    "KINDS",
    "Data",
    "Entry",
    "Json",
    "Kind",
    "Pin",
    "Wish",
    "blank_tokenizer",
    "credit",
    "fetch",
    "hold",
    "in_place",
    "is_text",
    "kind_of",
    "local",
    "look",
    "parts",
    "rows_of",
    "stamps",
    "wishes",
]

KINDS: Mapping[str, Kind] = {
    "hub": Kind(
        look=hub.look,
        resolve=hub.resolve,
        made_from=hub.made_from,
        rows_of=lambda wish: f"`{wish['hub']}`",
        facts=("commit",),
        locked=True,
        on_hub=True,
        rows=repository.fetch,
    ),
    "path": folder.KIND,
    "package": package.KIND,
    "transformers": modeltype.KIND,
    "recipe": another.KIND,
}


def kind_of(data: Data) -> str:
    """The kind that a wish's mapping is of."""
    return next(kind for kind in KINDS if kind in data)


def wishes(data: Sections, base: Path) -> tuple[Wish, ...]:
    """The wishes of a recipe, in the order source, tokenizer, dataset, files of text."""
    whole = cast("Data", data)
    tokenizer, dataset = (mapping(whole.get(name)) for name in ("tokenizer", "dataset"))
    given = {
        "source": whole.get("source"),
        "tokenizer": tokenizer.get("source"),
        "dataset": {"path": dataset["records"]} if "records" in dataset else dataset.get("source"),
    }
    for name in LISTS:
        items = tokenizer.get(name)
        for number, item in enumerate(items if isinstance(items, list) else [items]):
            if isinstance(item, Mapping) and "file" in item:
                given[f"{name}-{number}"] = {"path": item["file"]}
    return tuple(
        Wish(slot=slot, kind=kind_of(wish), data=wish, base=base)
        for slot, wish in given.items()
        if isinstance(wish, Mapping)
    )


def in_place(wish: Wish) -> bool:
    """Whether the stage reads the files where they are, without a fetch: a dataset may be large."""
    return wish.slot == "dataset" and KINDS[wish.kind].local is not None


def local(wish: Wish) -> dict[str, Path]:
    """{name: path} of the files of a wish that are on this machine; raises SourceFault."""
    files = KINDS[wish.kind].local
    return files(wish) if files is not None else {}


def stamps(wish: Wish) -> dict[str, int]:
    """{name: ctime in ns} of a local wish's files: nobody can set a ctime, so one that was edited
    and reverted shows."""
    return {name: path.stat().st_ctime_ns for name, path in local(wish).items()}


def look(wish: Wish, memo: Memo) -> Json:
    return KINDS[wish.kind].look(wish, memo)


def credit(wish: Data, facts: Mapping[str, str]) -> dict[str, str]:
    """What a bundle's card says of a source: `words`, the `repo` of the Hub that it is, and its
    `license` where the kind knows it."""
    name = kind_of(wish)
    kind = KINDS[name]
    told = {"words": kind.made_from(wish, facts), "license": kind.license(wish)}
    if kind.on_hub:
        told["repo"] = str(wish[name])
    return {key: text for key, text in told.items() if text}


def rows_of(wish: Data) -> str:
    """What a dataset's card calls the source of its rows."""
    return KINDS[kind_of(wish)].rows_of(wish)


def fetch(job: Job) -> dict[str, Json]:
    """The fetch stage: every wish of the recipe into its own folder `out/SLOT/`.

    Settings: wishes (slot -> mapping), base (the recipe's folder below the
    zoo's), locks (slot -> pin), rows (where only rows of a dataset are fetched: the recipe's
    dataset section, which says how much of it is needed). Beside a source, what its config names.
    Facts: pins (slot -> pin), credits (slot -> what a card says of it); read ({bytes, limit,
    parts}) for a dataset of which only rows were fetched.
    Raises SourceFault.
    """
    pins, more = dict[str, Pin](), dict[str, Json]()
    for slot, data in job.settings["wishes"].items():
        request = _request(job, slot, data)
        kind = KINDS[request.wish.kind]
        with reading(title(request.wish), *slot_key(request.wish), request.wish.kind):
            if slot == "dataset" and kind.rows is not None:
                pins[slot], more["read"] = kind.rows(request)
            else:
                pins[slot] = _taken(request, kind.resolve(request))
            if slot == "source":
                pins |= _parts(job, job.out / slot)
    credits: dict[str, Json] = {
        slot: dict(credit(pin.wish, pin.facts)) for slot, pin in pins.items()
    }
    return {"pins": {slot: pin.json() for slot, pin in pins.items()}, "credits": credits, **more}


def _request(job: Job, slot: str, data: Data) -> Request:
    serves = None
    if slot == "tokenizer":
        serves = job.settings["wishes"].get("source", {}).get("transformers")
    base, lock = job.root / job.settings["base"], job.settings["locks"].get(slot)
    return Request(
        wish=Wish(slot=slot, kind=kind_of(data), data=data, base=base, serves=serves),
        lock=Pin.read(lock) if lock is not None else None,
        out=job.out / slot,
        inputs=job.inputs,
        rows=job.settings.get("rows", {}),
        seed=job.seed,
        recipe=job.task.partition(":")[2],
    )


def _parts(job: Job, folder: Path) -> Iterator[tuple[str, Pin]]:
    """The pins of the parts that a source only names; the file of each is fetched beside it. A pin
    of another repository or file than is named now does not hold."""
    every = named.read({path.name: path for path in folder.glob("*.json")})
    if len(every) > named.MOST:
        names = " and ".join(sorted({part.by for part in every.values()}))
        what = f"the source's {names} names {len(every)} parts; at most {named.MOST} are fetched"
        raise SourceFault.of(what, key=("source",))
    for key, part in every.items():
        request = _request(job, named.slot(folder.name, key), _wish(part))
        if request.lock is not None and request.lock.wish != request.wish.data:
            request = replace(request, lock=None)
        try:
            yield request.wish.slot, _taken(request, KINDS["hub"].resolve(request))
        except Fault as fault:
            names = f"the source's {part.by} names it ({key})"
            raise SourceFault(
                replace(finding, what=f"{finding.what}; {names}") for finding in fault.findings
            ) from None


def _wish(part: named.Part) -> dict[str, Json]:
    """What is asked of the Hub for a part; a config is what is fetched where no file is said."""
    return {"hub": part.repo, **({"file": part.file} if part.file != named.CONFIG else {})}


def parts(wish: Wish) -> tuple[Wish, ...]:
    """The parts that a source on this machine only names; of one that has to be fetched nobody
    knows them before that."""
    if wish.slot != "source" or not KINDS[wish.kind].here:
        return ()
    try:
        files = KINDS[wish.kind].resolve(Request(wish=wish, lock=None, out=Path())).files
        every = named.read({name: get() for name, get in files.items() if "/" not in name})
    except Fault:
        return ()  # the fetch will say what is wrong
    return tuple(
        Wish(slot=named.slot(wish.slot, key), kind="hub", data=_wish(part), base=wish.base)
        for key, part in every.items()
    )


def _taken(request: Request, resolved: Resolved) -> Pin:
    """The files of a wish copied to their folder; the pin, which must be the locked one."""
    files = {}
    for name, get in sorted(resolved.files.items()):
        target = inside(request.out, name)
        path = get()
        if path != target:
            copy(path, target)
        if is_pointer(target):
            of = f"{name} of {request.wish.text()}"
            raise fault(request.wish, f"{of} {POINTER}", PUSH)
        files[name] = Entry(sha256=sha256(target), size=target.stat().st_size)
    if request.lock is not None:
        _hold(request, request.lock.files, files)
    return Pin(wish=request.wish.data, facts=resolved.facts, files=files)


def hold(wish: Wish, lock: Pin | None, recipe: str) -> None:
    """Raises SourceFault for what a fetch would refuse of files that are on this machine: none are
    there, or they are not the locked ones. recipe: its name, for advice."""
    if in_place(wish):
        local(wish)
    elif KINDS[wish.kind].here:
        request = Request(wish=wish, lock=lock, out=Path(), recipe=recipe)
        resolved = KINDS[wish.kind].resolve(request)
        if lock is not None:
            paths = {name: get() for name, get in resolved.files.items()}
            files = {
                name: Entry(sha256=sha256(path), size=path.stat().st_size)
                for name, path in paths.items()
            }
            _hold(request, lock.files, files)


def _hold(request: Request, locked: Mapping[str, Entry], files: Mapping[str, Entry]) -> None:
    """Refuse files that are not the locked ones."""
    wish = request.wish
    for name in sorted({*locked, *files}):
        known, here = locked.get(name), files.get(name)
        if known == here:
            continue
        if here is None:
            what = f"{name} is in the lock but not in {title(wish)}"
        elif known is None:
            what = f"{name} is in {title(wish)} but not in the lock"
        else:
            what = (
                f"{name} of {title(wish)} is not the locked one "
                f"(sha256 {here.sha256[:12]}, locked {known.sha256[:12]})"
            )
        raise SourceFault.of(
            what,
            key=(*slot_key(wish), wish.kind),
            hint=request.anew,
        )
