"""What the store has of a task, and what of a task may go there."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tinybuild import network, source
from tinybuild.engine import receipts
from tinybuild.engine.receipts import Receipt, State
from tinybuild.engine.stages import STAGES, Task
from tinybuild.errors import Fault
from tinybuild.files import digest, explain
from tinybuild.paths import Data, get, mapping
from tinybuild.store.far import Asked
from tinybuild.store.folder import Damaged, Folder
from tinybuild.store.kept import VERSION, Blob, Kept
from tinybuild.store.place import Place
from tinybuild.workers import Bug, Limits, Pool

Say = Callable[[str], None]
FACTS = tuple(field.name for field in dataclasses.fields(State))
SECONDS = 600.0  # that one entry of a far store may take


def key(stage: str, state: State) -> str:
    """What a stage's work is kept by: the digest of all that decides it, and of the sort of machine
    it was done on. Not the recipe's name, unless that decides anything: then it is in the state."""
    decides = {name: getattr(state, name) for name in FACTS}
    machine = f"{sys.platform} {platform.machine()}"
    return digest({"version": VERSION, "stage": stage, "machine": machine, **decides})


def kept(stage: str, state: State, receipt: Receipt) -> Kept:
    files = {name: Blob(**entry) for name, entry in receipt.files.items()}
    return Kept(version=VERSION, key=key(stage, state), files=files, facts=receipt.facts)


def settled(task: Task, state: State) -> bool:
    """Whether the state says what will be taken: what has no lock is resolved at its source."""
    locks = mapping(state.settings, ("locks",)) if task.stage == "fetch" else {}
    held = (wish.slot in locks for wish in task.wishes if source.KINDS[wish.kind].locked)
    return task.stage != "fetch" or all(held)


class Stored:
    """The store as a builder uses it; without a place it has nothing and takes nothing.

    It never stops a build: what goes wrong with it is said once, and then it is done without.
    """

    def __init__(self, place: Place | None, pool: Pool) -> None:
        self.place, self.pool = place, pool
        near = place is not None and (place.writes or bool(place.far))
        self.folder = Folder(place.folder, writes=near) if place is not None else None
        self.far = place.far if place is not None else ""
        self.reads = True  # whether anything is taken from it: `-a` makes all anew

    @contextlib.contextmanager
    def making(self, key: str, waiting: Callable[[], None]) -> Iterator[bool]:
        """Hold the right to make what a key stands for; True if somebody else had it meanwhile."""
        if self.folder is None:
            yield False
            return
        with self.folder.making(key, waiting) as waited:
            yield waited

    def take(self, key: str, out: Path, say: Say) -> Receipt | None:
        """Lay what the store has of a key into an empty folder: its receipt, or None."""
        folder, found = self.folder, None
        if folder is None or not self.reads or self._refused(key):
            return None
        with self._careful(say):
            found = self._near(folder, key, out, say)
            if found is None and self.far and self._pull(key, say):
                found = self._near(folder, key, out, say)
        return found

    def _near(self, folder: Folder, key: str, out: Path, say: Say) -> Receipt | None:
        try:
            kept = folder.find(key)
            if kept is None or self._refused(key, kept) or not folder.take(kept, out):
                return None
        except Damaged:
            say("the store held something damaged: it is made anew")
            return None
        files = {name: blob.entry() for name, blob in sorted(kept.files.items())}
        return Receipt(files=files, facts=kept.facts)

    def _refused(self, key: str, kept: Kept | None = None) -> bool:
        """Whether an entry may not be taken, because nobody signed it off."""
        signed = self.place.signed if self.place is not None else None
        if signed is None:
            return False
        return key not in signed or (kept is not None and kept.sha256() != signed[key])

    def keep(self, kept: Kept, folder: Path, say: Say) -> None:
        """Keep what was made, which lies in a folder."""
        store = self.folder
        if store is None or not store.writes:
            return
        with self._careful(say):
            paths = {blob.sha256: folder / name for name, blob in kept.files.items()}
            if store.keep(kept, paths) and self.far and self.place and self.place.writes:
                self._call("push", kept.key)

    def _pull(self, key: str, say: Say) -> bool:
        answer = self._call("pull", key)
        if answer == "damaged":
            say("the store held something damaged: it is made anew")
        return answer == "there"

    def _call(self, function: str, key: str) -> object:
        """Ask the worker that reaches a network. Raises Fault, OSError, Bug."""
        place, limits = self.place, Limits(seconds=SECONDS)
        assert place is not None
        asked = Asked(url=self.far, key=key, folder=place.folder, writes=place.writes)
        return self.pool.call(f"tinybuild.store.far:{function}", asked, limits, "online")

    @contextlib.contextmanager
    def _careful(self, say: Say) -> Iterator[None]:
        """Do without what does not work: the far store first, then the one on this machine."""
        try:
            yield
        except (Fault, OSError, Bug) as error:
            with_far, self.far = self.far, ""
            if not with_far:
                self.folder = None
            where = f" at {with_far}" if with_far else ""
            say(network.scrubbed(f"the store{where} is not used from here on: {why(error)}"))


def why(error: Fault | OSError | Bug) -> str:
    """What went wrong with a store, in a line, without passwords."""
    fault = explain(error) if isinstance(error, OSError) else error
    said = str(fault or error).strip().splitlines() or [type(error).__name__]
    return network.scrubbed(said[-1] if isinstance(error, Bug) else said[0])


def closed(pins: Data, others: Callable[[str], Data]) -> bool:
    """Whether any upstream gives its files only to some: nothing made of it is ever kept.

    A pin of the Hub that does not say is taken for one that does. others: recipe -> its pins.
    """
    seen, todo = set[str](), [pins]
    while todo:
        for pin in todo.pop().values():
            wish = mapping(get(pin, ("wish",)))
            known = get(pin, ("gated",))
            if source.KINDS[source.kind_of(wish)].on_hub and known != "no":
                return True
            other = wish.get("recipe")
            if isinstance(other, str) and other not in seen:
                seen.add(other)
                todo.append(others(other))
    return False


def wished(settings: Data) -> Data:
    """Pins of what a fetch with these settings will take: as locked, or as far as wished."""
    locks, wishes = mapping(settings, ("locks",)), mapping(settings, ("wishes",))
    return {
        **locks,
        **{slot: {**mapping(locks, (slot,)), "wish": wish} for slot, wish in wishes.items()},
    }


def standing(root: Path, recipe: str = "*") -> Iterator[tuple[str, Kept]]:
    """What stands in a zoo's build folder as a store would keep it, by task."""
    for folder in sorted((root / "build").glob(f"{recipe}/*")):
        receipt, state = receipts.papers(str(folder))
        if receipt is not None and state is not None and folder.name in STAGES:
            yield f"{folder.name}:{folder.parent.name}", kept(folder.name, state, receipt)
