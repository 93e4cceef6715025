"""Does one task: says why it must run, runs it in a fresh folder, and leaves a receipt."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tinybuild import recipe, source
from tinybuild.engine.plan import STAGES, Need, Task
from tinybuild.errors import BuildFault, Fault
from tinybuild.files import (
    PROVENANCE,
    RECEIPT,
    Memo,
    digest,
    explain,
    fresh,
    locked,
    pretty,
    put,
    remove,
    sha256,
    tree,
    write,
)
from tinybuild.recipe import lock
from tinybuild.workers import Bug, Job, Limits, Pool

State = dict[str, Any]
UNKNOWN = object()
REPORT = "report.json"  # what the validate stage leaves, also where a check failed


class Builder:
    """Runs tasks of one zoo and knows which of them are up to date.

    A task is up to date when its receipt is there, the state recorded in its provenance (settings,
    seed, digests of inputs, code, versions) is the present one, and the files on disk are those of
    the receipt. Nothing else is believed: neither times nor doit's own records.
    """

    def __init__(self, root: Path, memo: Memo, pool: Pool):
        self.root, self.memo, self.pool = root, memo, pool
        self.receipts: dict[str, Any] = {}
        self.places: dict[str, Path] = {}
        self.busy: set[str] = set()
        self.stopping = False
        # The code as it is before any worker loads it: an edit made later is seen next time.
        for stage in STAGES.values():
            _code(stage.code)

    def place(self, task: str) -> Path:
        """build/NAME/STAGE of the task STAGE:NAME."""
        if task not in self.places:
            stage, _, name = task.partition(":")
            self.places[task] = self.root / "build" / name / stage
        return self.places[task]

    def files_of(self, task: str) -> Path:
        """The folder that the paths of a task's receipt are relative to."""
        return self.root / "dist" if task.startswith("pack:") else self.place(task)

    def receipt(self, task: str) -> Any | None:
        """A task's receipt, or None. Read once; forgotten when the task runs.

        Its provenance holds its digest: a receipt that was edited is none.
        """
        if task not in self.receipts:
            self.receipts[task] = self._papers(task)[0]
        return self.receipts[task]

    def _papers(self, task: str) -> tuple[Any | None, Mapping[str, Any] | None]:
        """A task's receipt and provenance; None and None unless they belong together."""
        folder = self.place(task)
        text, before = _read(f"{folder}/{RECEIPT}"), _json(_read(f"{folder}/{PROVENANCE}"))
        parts = ("settings", "inputs", "upstream", "code", "versions")
        if (
            isinstance(before, dict)
            and before.get("receipt") == _sha256(text)
            and all(isinstance(before.get(part), dict) for part in parts)
        ):
            return _json(text), before
        return None, None

    # --- why -------------------------------------------------------------------------------------

    def reasons(self, task: Task) -> tuple[str, ...]:
        """Why a task must run; empty when it is up to date. Tasks before it are taken as done."""
        receipt, before = self._papers(task.name)
        self.receipts[task.name] = receipt
        if receipt is None or before is None:
            edited = (self.place(task.name) / RECEIPT).exists()
            return (f"{RECEIPT} or {PROVENANCE} was altered" if edited else "not built yet",)
        found = list(_differences(before, self.state(task)))
        return tuple(found or self._altered(task.name, receipt))

    def state(self, task: Task) -> State:
        """Everything that decides what a task makes, as JSON data."""
        stage = STAGES[task.stage]
        return {
            "settings": dict(task.settings),
            "seed": task.seed,
            "inputs": {need.name: self._digest(need) for need in task.needs},
            "upstream": {wish.slot: source.look(wish, self.memo) for wish in task.wishes},
            "code": _code(stage.code),
            "versions": _versions(stage.libraries),
        }

    def _digest(self, need: Need) -> str | None:
        """The digest of the part of another task's receipt that a need names."""
        receipt = self.receipt(need.task)
        if receipt is None:
            return None
        part = [_files(receipt, need), {name: receipt["facts"].get(name) for name in need.facts}]
        return digest(part)

    def _altered(self, task: str, receipt: Mapping[str, Any]) -> Iterator[str]:
        """Artefacts that are not what the receipt says."""
        folder = str(self.files_of(task))
        for name, entry in receipt["files"].items():
            found = self.memo.sha256(f"{folder}/{name}")
            if found != entry["sha256"]:
                yield f"{name} was deleted" if found is None else f"{name} was altered"
        own = (RECEIPT, PROVENANCE)
        for name in _below(str(self.place(task))):
            # The stages after this one take the folder as it is.
            if name not in own and (name not in receipt["files"] or task.startswith("pack:")):
                yield f"{name} was added"

    # --- doing -----------------------------------------------------------------------------------

    def perform(self, task: Task, say: Callable[[str], None]) -> bool:
        """Run a task; False if another doit had just done it. Raises Fault, or what a bug raises.

        The state is taken before the work begins: a change made meanwhile is seen next time.
        """
        place = self.place(task.name)
        waiting = functools.partial(say, f"{task.name} waits: another doit is building it")
        shown = task.recipe.file.relative_to(self.root).as_posix()
        state: State | None = None
        report: Any = None
        known = self.receipts.get(task.name, UNKNOWN)  # what the decision to run was made on
        self.busy.add(task.name)
        # `doit -P process` forks: what we know may be from before another process did a need.
        for need in task.needs:
            self.receipts.pop(need.task, None)
        try:
            self._folders(place.parent)
            with locked(place, waiting) as waited:
                # Another doit may have built it before this one came to wait.
                if waited or (known is not UNKNOWN and known != self._papers(task.name)[0]):
                    self.receipts.clear()
                    if not self.reasons(task):
                        return False
                here = [wish for wish in task.wishes if source.in_place(wish)]
                before = [(wish, source.stamps(wish)) for wish in here]
                state = self.state(task)
                with fresh(place) as made:
                    job = self._job(task, made, state, here)
                    try:
                        facts = self.pool.call(STAGES[task.stage].function, job, _limits(task))
                    except Fault:
                        report = _json(_read(f"{made}/{REPORT}"))
                        raise
                    except FileNotFoundError:
                        self._still_there(job)
                        raise
                    for wish, stamps in before:
                        if stamps != source.stamps(wish):
                            raise _edited(wish)
                    if task.stage == "fetch":
                        _unchanged(task, state, facts["pins"])
                        state["settings"]["locks"] = self._lock(task, facts["pins"])
                    self._leave(task, made, {"files": tree(made), "facts": facts}, state)
        except Fault as fault:
            placed = recipe.locate(fault, task.recipe.file, shown)
            self._note(task, state, placed, report)
            raise placed from None
        except Bug as bug:
            last = str(bug).strip().splitlines()[-1]
            self._note(task, state, Fault.of(f"a bug: {last}"))
            raise
        except OSError as error:
            if error.filename is not None:
                error.filename = str(error.filename).removeprefix(f"{self.root}/")
            expected = explain(error)
            if expected is None:
                what = f"a bug: {type(error).__name__}: {error}"
                self._note(task, state, Fault.of(what))
                raise
            raise expected from None
        finally:
            self.receipts.pop(task.name, None)
            self.busy.discard(task.name)
        return True

    def failure(self, task: Task) -> Any | None:
        """What is known of a task's last run, if that failed and would fail again; else None.

        {"kind": the fault's class, "findings": [{what, where, hint}], "report": {...} or None}; a
        failure of another state (recipe, inputs, code, versions) says nothing about this one.
        """
        found = _json(_read(str(self._failure(task.name))))
        if isinstance(found, dict) and found.get("state") == digest(self.state(task)):
            return found
        return None

    def _failure(self, task: str) -> Path:
        """build/NAME/STAGE.failure.json, beside the stage's folder: nothing depends on it."""
        place = self.place(task)
        return place.with_name(f"{place.name}.failure.json")

    def _note(self, task: Task, state: State | None, fault: Fault, report: Any = None) -> None:
        """Keep why a task failed, for whoever asks later; a full disk must not hide the reason."""
        if state is None or self.stopping:
            return  # it was not the task's own work that failed
        said = [{"what": f.what, "where": f.where, "hint": f.hint} for f in fault.findings]
        kind, about = type(fault).__name__, digest(state)
        data = {"task": task.name, "kind": kind, "state": about, "findings": said, "report": report}
        with contextlib.suppress(OSError):
            write(self._failure(task.name), pretty({"version": 1, **data}))

    def _folders(self, place: Path) -> None:
        """Refuse to build where something else stands in the way of a folder."""
        for folder in (self.root / "build", place, self.root / "dist"):
            if os.path.lexists(folder) and not folder.is_dir():
                what = f"{folder.relative_to(self.root)} is not a folder"
                raise BuildFault.of(what, hint="move it away, or make the link lead to a folder")

    def _still_there(self, job: Job) -> None:
        """Say so when what a stage works with was deleted meanwhile."""
        for path in (*job.inputs.values(), job.out):
            if not path.exists():
                shown = os.path.relpath(path, self.root)
                raise BuildFault.of(f"{shown} was deleted meanwhile", hint="run doit again")

    def _job(self, task: Task, out: Path, state: State, here: Iterable[source.Wish]) -> Job:
        facts = {}
        places = {wish.slot: wish.place for wish in here}
        for need in task.needs:
            receipt = self.receipt(need.task)
            if receipt is None:
                what = f"what {need.task} made was deleted meanwhile"
                raise BuildFault.of(what, hint="run doit again")
            known = receipt["facts"]
            facts[need.name] = {name: known[name] for name in need.facts}
        return Job(
            task=task.name,
            settings=task.settings,
            inputs={
                "recipe": task.recipe.file,
                **{need.name: self.place(need.task) for need in task.needs},
                **places,
            },
            facts=facts,
            root=self.root,
            out=out,
            seed=task.seed,
            upstream={slot: state["upstream"][slot] for slot in places},
        )

    def _lock(self, task: Task, pins: Mapping[str, Any]) -> dict[str, Any]:
        """Write the recipe's lock: the pins of upstreams that others can change."""
        kinds = {wish.slot: wish.kind for wish in task.wishes}
        kept = {slot: pin for slot, pin in pins.items() if source.KINDS[kinds[slot]].locked}
        lock.save(task.recipe.file, kept)
        return kept

    def _leave(self, task: Task, made: Path, receipt: Mapping[str, Any], state: State) -> None:
        """Move what was made to its place, the receipt last."""
        place = self.place(task.name)
        self._failure(task.name).unlink(missing_ok=True)
        text = pretty(receipt)
        before = {"task": task.name, "receipt": _sha256(text.encode()), **state}
        papers = {RECEIPT: text, PROVENANCE: pretty(before)}
        if task.stage != "pack":
            for name, text in papers.items():
                (made / name).write_text(text, encoding="utf-8")
            put(made, place)
            return
        remove(place)
        for path in sorted(made.iterdir()):
            put(path, self.files_of(task.name) / path.name)
        for name, text in papers.items():
            (made / name).write_text(text, encoding="utf-8")
        put(made, place)

    def stop(self) -> None:
        """End the workers; give the threads that waited for them the time to clean up."""
        self.stopping = True
        self.pool.stop()
        patience = time.monotonic() + 2
        while self.busy and time.monotonic() < patience:
            time.sleep(0.01)

    def clean(self, task: str) -> None:
        """Remove what a task made."""
        if task.startswith("pack:"):
            name = task.partition(":")[2]
            remove(self.root / "dist" / name)
            remove(self.root / "dist" / f"{name}.tar.gz")
        place = self.place(task)
        remove(place)
        remove(self._failure(task))
        remove(place.with_name(f".lock.{place.name}"))
        for folder in (place.parent, place.parent.parent, self.root / "dist"):
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()


def _read(path: str) -> bytes:
    """A file's bytes; none where there is no file."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - read 12,000 times for 1,000 recipes
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return b""


def _json(text: bytes) -> Any | None:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _below(folder: str, prefix: str = "") -> Iterator[str]:
    """Posix paths of the files below a folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _below(entry.path, f"{prefix}{entry.name}/")
                else:
                    yield prefix + entry.name
    except (FileNotFoundError, NotADirectoryError):
        return


def _unchanged(task: Task, state: State, pins: Mapping[str, Any]) -> None:
    """Refuse local files that were others when they were looked at than when they were copied."""
    for wish in task.wishes:
        looked = state["upstream"][wish.slot]
        if source.KINDS[wish.kind].local is not None and looked is not None:
            found = {name: entry["sha256"] for name, entry in pins[wish.slot]["files"].items()}
            if looked != found:
                raise _edited(wish)


def _edited(wish: source.Wish) -> Fault:
    what = f"{wish.data['path']} was edited while it was read"
    return BuildFault.of(what, hint="run doit again")


def _files(receipt: Mapping[str, Any], need: Need) -> dict[str, Any]:
    return {
        name: entry
        for name, entry in receipt["files"].items()
        if any(name.startswith(prefix) for prefix in need.files)
    }


def _limits(task: Task) -> Limits:
    limits = task.recipe.data["limits"]
    return Limits(seconds=limits["seconds"], memory=recipe.size(limits["memory"]))


@functools.cache
def _code(parts: tuple[str, ...]) -> dict[str, str]:
    """{file of the package: sha256} of the code that a stage's bytes depend on."""
    package = Path(__file__).parents[1]
    found = {}
    for part in parts:
        path = package / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found[file.relative_to(package).as_posix()] = sha256(file)
    return found


@functools.cache
def _versions(libraries: tuple[str, ...]) -> dict[str, str | None]:
    """{name: version} of the toolchain that a stage's bytes depend on."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        **{name: _version(name) for name in libraries},
    }


def _version(name: str) -> str | None:
    """The version of an installed distribution; None for an optional one that is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _differences(before: Mapping[str, Any], now: State) -> Iterator[str]:
    """What changed between two states, in words."""
    for path, old, new in _changed(before.get("settings"), now["settings"]):
        if path == ("recipe",):
            yield "the text of the recipe changed"
        else:
            yield f"recipe: {'.'.join(path)}: {_short(old)} -> {_short(new)}"
    if before.get("seed") != now["seed"]:
        yield f"the seed: {before.get('seed')} -> {now['seed']}"
    for path, _, _ in _changed(before.get("inputs"), now["inputs"]):
        yield f"what it takes from {path[0]} changed"
    for path, old, new in _changed(before.get("upstream"), now["upstream"]):
        if path[-1] in ("transformers", "tokenizers", "version"):
            yield f"upstream {'.'.join(path)}: {_short(old)} -> {_short(new)}"
        else:
            how = "is new" if old is None else "is gone" if new is None else "changed"
            yield f"the upstream file {path[-1]} {how}"
    for path, _, _ in _changed(before.get("code"), now["code"]):
        yield f"tinybuild/{path[0]} changed"
    for path, old, new in _changed(before.get("versions"), now["versions"]):
        yield f"{path[0]}: {_short(old)} -> {_short(new)}"


def _changed(
    old: Any, new: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(path, old, new) of each leaf that differs between two JSON values."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _changed(old.get(key), new.get(key), (*path, key))
    else:
        yield path, old, new


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
