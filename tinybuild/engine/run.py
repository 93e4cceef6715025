"""Does one task: says why it must run, runs it in a fresh folder, and leaves a receipt."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinybuild import bundle, named, reading, source, wire
from tinybuild.engine import code, receipts, stored, views, why
from tinybuild.engine.receipts import Failure, Receipt, Said, State
from tinybuild.engine.stages import STAGES, Need, Task
from tinybuild.errors import BuildFault, Fault, RecipeFault, printable
from tinybuild.files import (
    PROVENANCE,
    RECEIPT,
    RESTORED,
    Memo,
    Stamp,
    Watch,
    below,
    canonical,
    digest,
    explain,
    fresh,
    locked,
    pretty,
    put,
    remove,
    strange,
    sweep,
    tree,
    write,
)
from tinybuild.paths import Data, Json, get, mapping
from tinybuild.recipe import lock, size
from tinybuild.workers import Bug, Job, Limits, Pool, Sort

REPORT = "report.json"  # what the validate stage leaves, also where a check failed
PATIENCE = 5.0  # seconds that interrupted threads have to remove what they were making
# How a task came to be done: a worker did it, the store had it, or another doit had just done it.
Done = Literal["built", "restored", "elsewhere"]


@dataclass
class Attempt:
    """One go at a task, as far as it came: what a note of its failure tells."""

    task: Task
    known: bool = False  # whether its receipt was read when it was decided to run it
    receipt: Receipt | None = None
    state: State | None = None
    report: Data | None = None


class Builder:
    """Runs tasks of one zoo and knows which of them are up to date.

    A task is up to date when its receipt is there, the state recorded in its provenance (settings,
    seed, digests of inputs, code, versions) is the present one, and the files on disk are those of
    the receipt. Nothing else is believed: neither times nor doit's own records.
    """

    def __init__(self, root: Path, memo: Memo, pool: Pool):
        self.root, self.memo, self.pool = root, memo, pool
        self.receipts: dict[str, Receipt | None] = {}
        self.seen: dict[str, Mapping[str, Stamp | None]] = {}  # of tasks that are up to date
        self.places: dict[str, Path] = {}
        self.lock = threading.Lock()
        self.making: set[Path] = set()  # places that a fresh folder stands beside
        self.stopping = self.swept = False
        self.stored = stored.Stored(None, pool)  # until the environment is asked
        # Recipes that other machines built: task -> what went wrong, "" for all others. What the
        # store does not have of these is not made here.
        self.away: Mapping[str, Mapping[str, str]] = {}
        self.frozen = lock.frozen(os.environ)  # locks must hold, and none is written
        # The code as it is before any worker loads it: an edit made later is seen next time.
        self.code = {name: code.closure(stage.function) for name, stage in STAGES.items()}
        self.codes = {name: digest(files) for name, files in self.code.items()}

    def place(self, task: str) -> Path:
        """build/NAME/STAGE of the task STAGE:NAME."""
        if task not in self.places:
            stage, _, name = task.partition(":")
            self.places[task] = self.root / "build" / name / stage
        return self.places[task]

    def files_of(self, task: str) -> Path:
        """The folder that the paths of a task's receipt are relative to."""
        return self.root / "dist" if task.startswith("pack:") else self.place(task)

    def receipt(self, task: str) -> Receipt | None:
        """A task's receipt, or None. Read once; forgotten when the task runs."""
        if task not in self.receipts:
            self.receipts[task] = receipts.papers(str(self.place(task)))[0]
        return self.receipts[task]

    # --- why -------------------------------------------------------------------------------------

    def reasons(self, task: Task) -> tuple[str, ...]:
        """Why a task must run; empty when it is up to date. Tasks before it are taken as done."""
        place, watch = self.place(task.name), Watch(self.memo)
        for paper in (RECEIPT, PROVENANCE):
            watch.see(f"{place}/{paper}")
        receipt, before = receipts.papers(str(place))
        self.receipts[task.name] = receipt
        if receipt is None or before is None:
            return (self._unmade(task, place),)
        changes = tuple(why.reasons(before, self.state(task, watch), self._files_of_code))
        changes = changes or tuple(self._altered(task.name, receipt, watch))
        if not changes:
            self.seen[task.name] = watch.seen
        return changes

    def _unmade(self, task: Task, place: Path) -> str:
        """Why a task without a receipt runs."""
        if (place / RECEIPT).exists():
            return f"{RECEIPT} or {PROVENANCE} was altered"
        note = self.failure(task)
        return "not built yet" if note is None else f"failed the last time: {note.findings[0].what}"

    def state(self, task: Task, memo: Memo | None = None) -> State:
        """memo: through which upstreams are looked at."""
        memo = self.memo if memo is None else memo
        return State(
            settings=task.settings,
            seed=task.seed,
            inputs={need.name: self._digest(need) for need in task.needs},
            upstream={wish.slot: source.look(wish, memo) for wish in task.wishes},
            code=self.codes[task.stage],
            versions=code.versions(task.libraries),
        )

    def _digest(self, need: Need) -> str | None:
        """The digest of the part of another task's receipt that a need names."""
        receipt = self.receipt(need.task)
        if receipt is None:
            return None
        files = {name: entry for name, entry in receipt.files.items() if need.covers(name)}
        return digest([files, {name: receipt.facts.get(name) for name in need.facts}])

    def _altered(self, task: str, receipt: Receipt, memo: Memo) -> Iterator[str]:
        """Artefacts that are not what the receipt says."""
        folder, packed = str(self.files_of(task)), task.startswith("pack:")
        # Where a file was added or deleted, the ctime of its folder moved.
        bundled = [f"{folder}/{task.partition(':')[2]}"] if packed else []
        for inner in (str(self.place(task)), *bundled):
            memo.see(inner)
            for above in _folders(inner):
                memo.see(above)
        for name, entry in receipt.files.items():
            now = memo.sha256(f"{folder}/{name}")
            if now != entry["sha256"]:
                yield f"{name} was deleted" if now is None else f"{name} was altered"
        if packed:
            name = task.partition(":")[2]
            known = {
                *receipt.files,
                f"{name}/{bundle.SIGNATURE}",
            }  # a signature is nobody's stage's
            yield from strange(f"{folder}/{name}", known, f"{name}/")
        for name in below(str(self.place(task))):
            if name not in (RECEIPT, PROVENANCE) and (packed or name not in receipt.files):
                yield f"{name} was added"

    def _files_of_code(self, digest: str) -> Data:
        """{file: sha256} of the code of a state; {} where nobody kept it."""
        for stage, ours in self.codes.items():
            if ours == digest:
                return self.code[stage]
        files = receipts.data(receipts.read(str(self._code_file(digest))))
        return files if isinstance(files, Mapping) else {}

    def _code_file(self, digest: str) -> Path:
        return self.root / "build" / f".code-{digest[:16]}.json"

    # --- doing -----------------------------------------------------------------------------------

    def perform(self, task: Task, say: Callable[[str], None]) -> Done:
        """Do a task. Raises Fault, or what a bug raises.

        The state is taken before the work begins: a change made meanwhile is seen next time.
        """
        attempt = Attempt(task=task)
        if task.name in self.receipts:  # what the decision to run was made on
            attempt.known, attempt.receipt = True, self.receipts[task.name]
        self.seen.pop(task.name, None)
        # `doit -P process` forks: what we know may be from before another process did a need.
        for need in task.needs:
            self.receipts.pop(need.task, None)
        try:
            with self._noting(attempt):
                return self._do(attempt, say)
        finally:
            self.receipts.pop(task.name, None)

    def _do(self, attempt: Attempt, say: Callable[[str], None]) -> Done:
        """Wait for the place, and do the work unless somebody else has."""
        if not self.swept:
            self.swept = True
            sweep(self.root / "build", self.root / "dist")
        task = attempt.task
        place = self.place(task.name)
        self._folders(place.parent)
        waiting = functools.partial(say, f"{task.name} waits: another doit is building it")
        with locked(place, waiting) as waited:
            now = receipts.papers(str(place))[0]
            if waited or (attempt.known and attempt.receipt != now):
                self.receipts.clear()
                if not self.reasons(task):
                    return "elsewhere"
            if self.frozen and task.stage == "fetch" and (unfit := lock.unfit(task.recipe)):
                raise RecipeFault(unfit)
            with self._fresh(place) as work:
                made = work / "made"
                made.mkdir()
                return self._make(attempt, work, lambda said: say(f"{task.name}: {said}"))

    @contextlib.contextmanager
    def _fresh(self, place: Path) -> Iterator[Path]:
        """A fresh folder beside a place, which `stop` knows of; none once it was called."""
        with self.lock:
            if self.stopping:
                raise KeyboardInterrupt
            self.making.add(place)
        try:
            with fresh(place) as work:
                yield work
        finally:
            self.making.discard(place)

    def _make(self, attempt: Attempt, work: Path, say: Callable[[str], None]) -> Done:
        """Take it from the store, or have a worker do it; one of those that want the same does."""
        task, made, store = attempt.task, work / "made", self.stored
        state = self.state(task)
        key = stored.key(task.stage, state)
        shared = stored.settled(task, state) and not self._closed(task, state.settings)
        receipt = store.take(key, made, say) if shared else None
        with contextlib.ExitStack() as stack:
            if shared and receipt is None:
                waiting = functools.partial(say, "waits: the same is being made for another")
                if stack.enter_context(store.making(key, waiting)):
                    receipt = store.take(key, made, say)
            if receipt is not None:
                attempt.state = self._pinned(task, state, mapping(receipt.facts, ("pins",)))
                self._leave(attempt, made, receipt)
                write(self._note_of_store(task.name), f"{key}\n")
                return "restored"
            if task.recipe.name in self.away:
                raise _told(task, self.away[task.recipe.name])
            facts = self._work(attempt, self._job(task, made, work / "inputs"))
            receipt = Receipt(files=tree(made), facts=facts)
            self._leave(attempt, made, receipt)
            assert attempt.state is not None
            if not self._closed(task, facts):
                kept = stored.kept(task.stage, attempt.state, receipt)
                store.keep(kept, self.files_of(task.name), say)
        return "built"

    def _closed(self, task: Task, told: Data) -> bool:
        """Whether what a task makes may not be kept. told: a fetch's settings, or its facts."""
        if task.stage == "fetch" and "wishes" in told:  # what it will take
            pins = stored.wished(told)
        elif task.stage == "fetch":
            pins = mapping(told, ("pins",))
        else:
            pins = self._pins(task.recipe.name)
        return stored.closed(pins, self._pins)

    def _pins(self, recipe: str) -> Data:
        """What the sources of a recipe resolved to."""
        receipt = self.receipt(f"fetch:{recipe}")
        return mapping(receipt.facts, ("pins",)) if receipt is not None else {}

    def restored(self, task: str) -> bool:
        """Whether what there is of a task is from the store."""
        return self._note_of_store(task).is_file()

    def _note_of_store(self, task: str) -> Path:
        """build/NAME/.STAGE.restored: the key, where the store had it. `fresh` removes it."""
        place = self.place(task)
        return place.with_name(f".{place.name}{RESTORED}")

    def _work(self, attempt: Attempt, job: Job) -> dict[str, Json]:
        """Have a worker do it, and hold what it read to what it was when it began; the facts."""
        task, stage = attempt.task, STAGES[attempt.task.stage]
        stamps = {wish.slot: source.stamps(wish) for wish in task.wishes if source.in_place(wish)}
        state = attempt.state = self.state(task)
        looked = {slot: mapping(state.upstream, (slot,)) for slot in stamps}
        job = dataclasses.replace(job, upstream=looked, versions=state.versions)
        try:
            facts: dict[str, Json] = self.pool.call(stage.function, job, limits(task), sort(task))
        except Fault:
            report = receipts.data(receipts.read(f"{job.out}/{REPORT}"))
            attempt.report = report if isinstance(report, Mapping) else None
            raise
        except FileNotFoundError:
            self._still_there(job)
            raise
        for wish in task.wishes:
            if wish.slot in stamps and stamps[wish.slot] != source.stamps(wish):
                raise _edited(wish)
        _sayable(task, facts)
        attempt.state = self._pinned(task, state, mapping(facts, ("pins",)))
        return facts

    def _pinned(self, task: Task, state: State, pins: Data) -> State:
        """The state after a fetch: with the lock that it wrote. What was copied must be what was
        looked at. After another stage it is as it was."""
        if task.stage != "fetch":
            return state
        for wish in task.wishes:
            looked = state.upstream[wish.slot]
            if source.KINDS[wish.kind].local is not None and looked is not None:
                copied = mapping(pins, (wish.slot, "files"))
                if looked != {name: get(copied, (name, "sha256")) for name in copied}:
                    raise _edited(wish)
        # The pins of upstreams that others can change.
        slots = [wish.slot for wish in task.wishes if source.KINDS[wish.kind].locked]
        slots += filter(named.is_part, pins)
        held = {slot: mapping(pins, (slot,)) for slot in slots}
        now = {slot: source.Pin.read(pin) for slot, pin in held.items()}
        if self.frozen:
            if lacking := lock.lacking(task.recipe, now):
                raise RecipeFault(lacking)
            return state
        lock.save(task.recipe.file, now)
        return dataclasses.replace(state, settings={**state.settings, "locks": held})

    def _job(self, task: Task, out: Path, inside: Path) -> Job:
        """The stage's job, with its view of what the stages before it made."""
        stage = STAGES[task.stage]
        inputs = {wish.slot: wish.place for wish in task.wishes if source.in_place(wish)}
        if stage.recipe:
            inputs["recipe"] = task.recipe.file
        facts = dict[str, Data]()
        for need in task.needs:
            receipt = self.receipt(need.task)
            if receipt is None:
                what = f"what {need.task} made was deleted meanwhile"
                raise BuildFault.of(what, hint="run it again")
            facts[need.name] = {name: receipt.facts[name] for name in need.facts}
            if need.files:
                inputs[need.name] = inside / need.name
                try:
                    views.lay(need, receipt.files, self.files_of(need.task), inputs[need.name])
                except FileNotFoundError:
                    shown = self.files_of(need.task).relative_to(self.root)
                    what = f"a file of {shown} was deleted meanwhile"
                    raise BuildFault.of(what, hint="run it again") from None
        return Job(
            task=task.name,
            settings=task.settings,
            inputs=inputs,
            facts=facts,
            root=self.root if stage.outside else out,
            out=out,
            seed=task.seed,
            closed=tuple(self.root / top for top in ("build", "dist", "recipes")),
            sources=tuple(wish.place for wish in task.wishes if source.KINDS[wish.kind].local),
        )

    def _leave(self, attempt: Attempt, made: Path, receipt: Receipt) -> None:
        """Move what was made to its place, the receipt last."""
        task, state = attempt.task, attempt.state
        assert state is not None
        place = self.place(task.name)
        self._failure(task.name).unlink(missing_ok=True)
        kept = self._code_file(state.code)
        if not kept.exists():
            write(kept, pretty(self.code[task.stage]))
        if task.stage == "pack":
            remove(place)
            for path in sorted(made.iterdir()):
                put(path, self.files_of(task.name) / path.name)
        for name, text in receipts.written(task.name, receipt, state).items():
            (made / name).write_text(text, encoding="utf-8")
        put(made, place)

    # --- trouble ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _noting(self, attempt: Attempt) -> Iterator[None]:
        """Faults with their place in the recipe's file, and a note of what failed."""
        file = attempt.task.recipe.file
        try:
            yield
        except Fault as fault:
            from tinybuild.recipe.reading import locate

            placed = locate(fault, file, file.relative_to(self.root).as_posix())
            self._note(attempt, placed, "\n".join(getattr(fault, "__notes__", ())))
            raise placed from None
        except Bug as bug:
            self._note(attempt, Fault.of(f"a bug: {str(bug).strip().splitlines()[-1]}"), str(bug))
            raise
        except OSError as error:
            expected = explain(error, self.root)
            if expected is None:
                self._note(attempt, Fault.of(f"a bug: {type(error).__name__}: {error}"))
                raise
            raise expected from None

    def _note(self, attempt: Attempt, fault: Fault, trace: str = "") -> None:
        """Keep why a task failed, for whoever asks later; a full disk must not hide the reason."""
        if attempt.state is None or self.stopping:
            return  # it was not the task's own work that failed
        note = Failure(
            version=1,
            task=attempt.task.name,
            kind=type(fault).__name__,
            state=digest(wire.dump(attempt.state)),
            findings=tuple(Said(what=f.what, where=f.where, hint=f.hint) for f in fault.findings),
            report=attempt.report,
            trace=printable(trace),
        )
        with contextlib.suppress(OSError):
            write(self._failure(attempt.task.name), pretty(wire.dump(note)))

    def failure(self, task: Task) -> Failure | None:
        """What is known of a task's last run, if that failed and would fail again; else None."""
        note = receipts.failure(receipts.read(str(self._failure(task.name))))
        if note is not None and note.state == digest(wire.dump(self.state(task))):
            return note
        return None

    def _failure(self, task: str) -> Path:
        """build/NAME/STAGE.failure.json, beside the stage's folder: nothing depends on it."""
        place = self.place(task)
        return place.with_name(f"{place.name}.failure.json")

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
                raise BuildFault.of(f"{shown} was deleted meanwhile", hint="run it again")

    # --- ending ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Let nothing more begin, end the workers, and give the threads that waited for them the
        time to clean up. What is then still there is removed here: nobody writes there any more."""
        with self.lock:
            self.stopping = True
        self.pool.stop()
        patience = time.monotonic() + PATIENCE
        while self.making and time.monotonic() < patience:
            time.sleep(0.01)
        for place in tuple(self.making):
            for left in place.parent.glob(f".{place.name}.*"):
                with contextlib.suppress(OSError):  # its thread removes it as well
                    remove(left)

    def left(self, task: str) -> bool:
        """Whether there is anything of a task to clean."""
        name = task.partition(":")[2]
        made = [self.place(task), self._failure(task)]
        if task.startswith("pack:"):
            made += [self.root / "dist" / name, self.root / "dist" / f"{name}.tar.gz"]
        return any(os.path.lexists(path) for path in made)

    def clean(self, task: str) -> None:
        """Remove what a task made."""
        if task.startswith("pack:"):
            name = task.partition(":")[2]
            remove(self.root / "dist" / name)
            remove(self.root / "dist" / f"{name}.tar.gz")
        place = self.place(task)
        remove(place)
        remove(self._failure(task))
        remove(self._note_of_store(task))
        remove(place.with_name(f".lock.{place.name}"))
        for folder in (place.parent, place.parent.parent, self.root / "dist"):
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()


def _folders(folder: str) -> list[str]:
    """All folders below a folder, also empty ones, sorted."""
    return sorted(f"{above}/{name}" for above, names, _ in os.walk(folder) for name in names)


def _sayable(task: Task, facts: Data) -> None:
    """Refuse facts that no receipt can hold: a source gave a number that is none, or half of a
    character."""
    try:
        canonical(facts)
    except ValueError as error:
        slot = next((wish.slot for wish in task.wishes), "source")
        at = reading.Suspect(file=f"what {task.stage} read", key=(slot,))
        raise reading.blamed(error, at) from error


def _edited(wish: source.Wish) -> Fault:
    what = f"{wish.text()} was edited while it was read"
    return BuildFault.of(what, hint="run it again")


def _told(task: Task, said: Mapping[str, str]) -> Fault:
    """What another machine says of a task, with the place that it gave."""
    text = said.get(task.name) or said[""]
    where, divided, what = text.partition(": ")
    return BuildFault.of(what, where=where) if divided and task.name in said else Fault.of(text)


def sort(task: Task) -> Sort:
    """The sort of process that a task needs: transformers is imported for tokenizers and models."""
    if STAGES[task.stage].outside:
        kinds = {source.KINDS[wish.kind] for wish in task.wishes}
        if any(kind.on_hub for kind in kinds) or any(map(source.parts, task.wishes)):
            return "online"
    return "warm" if {"model", "tokenizer"} & task.recipe.data.keys() else "light"


def limits(task: Task) -> Limits:
    given = task.recipe.data["limits"]
    return Limits(seconds=given["seconds"], memory=size(given["memory"]))
