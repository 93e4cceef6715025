"""The locks of recipes, held against what they are of."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tinybuild import source, wire
from tinybuild.compare.differences import Change
from tinybuild.drift.moved import Answers, Moved, Question, Questions, Said, State
from tinybuild.files import Memo
from tinybuild.paths import get, mapping
from tinybuild.recipe import Recipe, lock
from tinybuild.source import KINDS, Pin, Wish
from tinybuild.source.pins import title
from tinybuild.workers import Limits, Pool

COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A wish that is locked. pin: the one that answers to it; None where there is none."""

    recipe: str
    wish: Wish
    pin: Pin | None

    def moved(self, state: State, now: str = "") -> Moved:
        """What is known without asking anybody."""
        kind = KINDS[self.wish.kind]
        facts = self.pin.facts if self.pin is not None else {}
        return Moved(
            recipe=self.recipe,
            slot=self.wish.slot,
            source=title(self.wish),
            state=state,
            revision=self.wish.text("revision", "main") if kind.on_hub else "",
            locked=next((facts[name] for name in kind.facts if name in facts), ""),
            now=now,
        )


def locked(recipe: Recipe) -> tuple[Locked, ...]:
    """What of a recipe is locked, or is to be."""
    wishes = lock.wanted(recipe)
    pins = lock.holding(recipe.pins, {slot: wish.data for slot, wish in wishes.items()})
    return tuple(
        Locked(recipe=recipe.name, wish=wish, pin=pins.get(slot)) for slot, wish in wishes.items()
    )


def look(every: Iterable[Locked], pool: Pool, memo: Memo) -> tuple[Moved, ...]:
    """What became of each, in their order. What is on the Hub is asked for by a worker that may
    reach it; a pin of a whole commit hash cannot move."""
    told, questions = list[Moved | None](), list[Question]()
    for one in every:
        asked = KINDS[one.wish.kind].on_hub and not COMMIT.fullmatch(one.wish.text("revision"))
        if one.pin is None:
            told.append(one.moved("unlocked"))
        elif asked:
            told.append(None)
            pin = one.pin.json()
            questions.append(Question(recipe=one.recipe, slot=one.wish.slot, pin=pin))
        else:
            told.append(_here(one, one.pin, memo))
    if not questions:
        return tuple(one for one in told if one is not None)
    asked_of = Questions(every=tuple(questions))
    said = pool.call("tinybuild.drift.upstream:ask", asked_of, Limits(seconds=None), "online")
    answers = iter(wire.load(Answers, said).every)
    return tuple(next(answers) if one is None else one for one in told)


def _here(one: Locked, pin: Pin, memo: Memo) -> Moved:
    """What can be seen on this machine: the version of a package, and its files."""
    if KINDS[one.wish.kind].on_hub:
        return one.moved("same", now=pin.facts["commit"])
    looked = source.look(one.wish, memo)
    if looked is None:
        refusals = (Said(what=f"{title(one.wish)} is not installed"),)
        return dataclasses.replace(one.moved("refused"), refusals=refusals)
    files = mapping(looked, ("files",))
    changed = tuple(name for name in sorted(files) if files[name] != _sha256(pin, name))
    version, now = pin.facts.get("version", ""), str(get(looked, ("version",)) or "")
    if not changed and version == now:
        return one.moved("same", now=now)
    facts = (Change(name="version", before=version, after=now),) if version != now else ()
    moved = one.moved("moved" if changed else "commit", now=now)
    return dataclasses.replace(moved, files=changed, facts=facts if changed else ())


def _sha256(pin: Pin, name: str) -> str:
    return pin.files[name].sha256 if name in pin.files else ""
