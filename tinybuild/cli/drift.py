"""The commands that look after locks: what moved upstream, and pins anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinybuild import drift, named
from tinybuild.cli.command import Answer, Command, Lines, Option, Options
from tinybuild.cli.session import Session, placed
from tinybuild.drift import Moved
from tinybuild.drift.locks import Locked, locked, look
from tinybuild.engine import renew
from tinybuild.engine.stages import Task
from tinybuild.errors import Fault, RecipeFault, did_you_mean
from tinybuild.files import digest
from tinybuild.paths import Json
from tinybuild.recipe import Recipe, lock
from tinybuild.source import KINDS, Pin, Wish, kind_of
from tinybuild.source.pins import title

NOTHING = "nothing moved"
CODES = """\
Exit codes: 0 nothing moved, 3 something did, 1 something is wrong or cannot be known.
Without a name: all recipes. `--json` tells all that changed; see docs/hub.md."""


def _outdated(here: Session, words: Sequence[str], options: Options) -> Lines:
    recipes, broken = _recipes(here, words)
    every = [one for recipe in recipes for one in locked(recipe)]
    told = (*look(every, here.pool, here.memo), *broken)
    yield from drift.lines(told)
    if all(one.state == "same" for one in told):
        yield NOTHING
    return Answer(data=dict(drift.data(told)), code=_code(told))


def _recipes(here: Session, words: Sequence[str]) -> tuple[list[Recipe], list[Moved]]:
    """Those that are named, else all; and what is told of those of them that cannot be read."""
    names = here.named(words) or here.zoo.names
    broken = [
        _refused(here, one.name, one.file, here.refusal(one))
        for one in here.zoo.broken
        if one.name in names
    ]
    return [here.zoo.recipes[name] for name in names if name in here.zoo.recipes], broken


def _refused(here: Session, name: str, file: Path, fault: Fault) -> Moved:
    """Of a recipe that is refused nothing can be known; the others are told all the same."""
    refusals = tuple(
        drift.Said(what=f"{one.where}: {one.what}" if one.where else one.what, hint=one.hint)
        for one in fault.findings
    )
    where = here.shown(file)
    return Moved(recipe=name, slot="source", source=where, state="refused", refusals=refusals)


def _code(told: Iterable[Moved]) -> int:
    states = {one.state for one in told} - {"same"}
    return 1 if "refused" in states else 3 if states else 0


OUTDATED = Command(
    doc="say what moved upstream since the locks were written; change nothing",
    do=_outdated,
    words="[NAME | GROUP | PATTERN ...]",
    group="hub",
    more=f"One request a repository.\n{CODES}",
)


# --- update ---------------------------------------------------------------------------------------


@dataclass
class Renewal:
    """What an update did. parts: whether it looks for other parts that are read of the same commit.
    wrote: locks that are others now. changed: fetch task -> the files of it that are others (None:
    any may be). pins: those of other recipes, by wish."""

    parts: bool
    wrote: list[str] = field(default_factory=list)
    changed: dict[str, set[str] | None] = field(default_factory=dict)
    pins: dict[str, Pin] = field(default_factory=dict)


def _update(here: Session, words: Sequence[str], options: Options) -> Lines:
    here.cache.forgiving = True  # a lock that cannot be read is written anew
    here.reread()
    recipes, refused = _recipes(here, words)
    told = look(_only(recipes, options["only"]), here.pool, here.memo)
    done = Renewal(parts=bool(words))
    stale = list[str]()
    yield from drift.lines(told)
    for recipe in recipes:
        mine = {one.slot: one for one in told if one.recipe == recipe.name}
        stale += [said for said in _left_over(recipe) if not options["only"]]
        try:
            _renew(here, recipe, mine, done)
        except Fault as fault:
            refused.append(_refused(here, recipe.name, recipe.file, fault))
    yield from drift.lines(refused)
    told = (*told, *refused)
    yield from stale
    yield from (f"wrote {name}" for name in done.wrote)
    tasks = _rebuilt(here, done)
    if tasks:
        yield f"to be rebuilt: {', '.join(tasks)}"
    if not done.wrote and all(one.state == "same" for one in told):
        yield NOTHING
    data: dict[str, Json] = {**drift.data(told), "wrote": done.wrote, "rebuild": tasks}
    code = _code(told)
    return Answer(data=data, code=3 if done.wrote and not code else code)


def _only(recipes: Sequence[Recipe], only: str) -> list[Locked]:
    """What of the recipes is locked; `only` the slots, or the sources, of that name."""
    every = [one for recipe in recipes for one in locked(recipe)]
    if not only:
        return every
    chosen = [one for one in every if only in (one.wish.slot, one.wish.text(), title(one.wish))]
    if not chosen:
        known = {name for one in every for name in (one.wish.slot, one.wish.text())}
        what = f"--only {only}: none of the recipes has it"
        raise RecipeFault.of(what, hint=did_you_mean(only, known))
    return chosen


def _left_over(recipe: Recipe) -> Iterator[str]:
    """What the lock pins, and the recipe does not ask for."""
    for finding in lock.unfit(recipe):
        if "which the recipe does not have" in finding.what:
            yield f"{finding.where}: {finding.what}"


def _renew(here: Session, recipe: Recipe, told: Mapping[str, Moved], done: Renewal) -> None:
    """Pin what moved, and write the lock; a source that cannot be asked keeps its pin."""
    wishes = {one.wish.slot: one.wish for one in locked(recipe)}
    fetch = here.zoo.tasks.get(f"fetch:{recipe.name}")
    anew = [slot for slot, one in told.items() if one.state in ("moved", "commit", "unlocked")]
    # Of a dataset the recipe may read other rows now, at the same commit.
    held = [slot for slot in told if done.parts and slot not in anew and _in_parts(wishes[slot])]
    pins = {slot: pin for slot, pin in recipe.pins.items() if slot in wishes}
    keys = {slot: digest(dict(wishes[slot].data)) for slot in anew if not _in_parts(wishes[slot])}
    now = {slot: done.pins[key] for slot, key in keys.items() if key in done.pins}
    missing = [slot for slot in anew if slot not in now]
    if fetch is not None and (missing or held):
        now |= _resolved(here, fetch, [*missing, *held], held)
        if not any(map(named.is_part, now)):  # else another recipe would lack what it names
            done.pins |= {key: now[slot] for slot, key in keys.items()}
    # A config that was resolved anew may name others than before.
    pins = {slot: pin for slot, pin in pins.items() if named.owner(slot) not in now} | now
    if pins == recipe.pins and lock.place(recipe.file).exists() == bool(pins):
        return
    lock.save(recipe.file, pins)
    done.wrote.append(here.shown(lock.place(recipe.file)))
    if fetch is not None:
        sure = not held and all(one.state != "unlocked" for one in told.values())
        files = {f"{slot}/{name}" for slot in anew for name in told[slot].files}
        done.changed[fetch.name] = files if sure else None


def _in_parts(wish: Wish) -> bool:
    """Whether only what the recipe asks for is read of it."""
    return wish.slot == "dataset" and KINDS[wish.kind].rows is not None


def _resolved(
    here: Session, fetch: Task, slots: Sequence[str], held: Sequence[str]
) -> dict[str, Pin]:
    """Those of them that are to be locked, with the places of faults in the recipe's file."""
    file = fetch.recipe.file
    try:
        now = renew.resolve(here.builder, fetch, slots, held)
    except Fault as fault:
        raise placed(here.located(fault, file), here.shown(file)) from None
    return {slot: pin for slot, pin in now.items() if KINDS[kind_of(pin.wish)].locked}


def _rebuilt(here: Session, done: Renewal) -> list[str]:
    """The tasks that a build would do now."""
    if not done.changed:
        return []
    here.reread()
    ordered = here.with_upstreams(here.zoo.tasks.values())
    return list(renew.rebuilt(here.builder, ordered, done.changed))


UPDATE = Command(
    doc="pin what the sources are now in the locks, and say what changed",
    do=_update,
    words="[NAME | GROUP | PATTERN ...]",
    options={
        "only": Option(help="this slot (source, tokenizer, dataset) or source", value="SOURCE")
    },
    group="hub",
    more=f"Writes recipes/NAME.lock.json and nothing else; build after it.\n{CODES}",
)
