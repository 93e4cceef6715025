"""What a zoo would build, planned and not built: here, and at a revision."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild import source, wire
from tinybuild.compare.revision import Revision
from tinybuild.engine import code
from tinybuild.engine.plan import Zoo, load
from tinybuild.engine.receipts import State
from tinybuild.engine.stages import STAGES, Need, Task
from tinybuild.errors import Fault
from tinybuild.files import Memo, digest
from tinybuild.paths import Json, mapping
from tinybuild.recipe import Cache

SEEN = frozenset(("transformers", "tokenizers"))  # libraries that a source of a model type is


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What is known of a task before anything is built. state: what decides what it makes; in the
    place of what others made, its `inputs` have what it wants of them. before: tasks whose files or
    facts it takes. libraries: those whose version decides."""

    state: State
    before: tuple[str, ...]
    libraries: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A zoo as it would be built. broken: recipe -> why it cannot be. code: digest of a stage's
    code -> {file: sha256}."""

    tasks: Mapping[str, Planned]
    recipes: tuple[str, ...]
    broken: Mapping[str, str]
    code: Mapping[str, Mapping[str, str]]


def plan(zoo: Zoo, memo: Memo, package: Path = code.PACKAGE) -> Plan:
    """package: the tinybuild whose code decides."""
    codes = {name: code.closure(stage.function, package) for name, stage in STAGES.items()}
    digests = {name: digest(files) for name, files in codes.items()}
    return Plan(
        tasks={name: _planned(task, memo, digests[task.stage]) for name, task in zoo.tasks.items()},
        recipes=tuple(zoo.recipes),
        broken={one.name: one.fault.findings[0].what for one in zoo.broken},
        code={digests[name]: files for name, files in codes.items()},
    )


def _planned(task: Task, memo: Memo, ours: str) -> Planned:
    looked = {wish.slot: source.look(wish, memo) for wish in task.wishes}
    named = {wish.text() for wish in task.wishes if wish.kind == "package"}
    seen = {key for look in looked.values() for key in mapping(look)}
    return Planned(
        state=State(
            settings=task.settings,
            seed=task.seed,
            inputs={need.name: _wanted(need) for need in task.needs},
            upstream=looked,
            code=ours,
            versions=code.versions(task.libraries),
        ),
        before=tuple(dict.fromkeys(need.task for need in task.needs)),
        libraries=tuple(
            sorted({*task.libraries, *named, *(seen & {"transformers", "tokenizers"})})
        ),
    )


def _wanted(need: Need) -> Json:
    return {"task": need.task, "files": list(need.files), "facts": list(need.facts)}


def plan_of(revision: Revision) -> tuple[Plan, tuple[str, ...]]:
    """What a revision would build. Where tinybuild is in the repository, its own code of then says
    so; where it cannot, or is elsewhere, ours does."""
    package, notes = code.PACKAGE, tuple[str, ...]()
    if revision.keeps(package / "__init__.py"):
        package = revision.then(package)
        if package.is_dir():
            told = _by_itself(revision, package)
            if told is not None:
                return told, ()
            notes = (f"the tinybuild of {revision.commit[:12]} cannot plan: ours read its recipes",)
        else:
            package = code.PACKAGE
    return _read(revision.root, package), notes


def _by_itself(revision: Revision, package: Path) -> Plan | None:
    """What the tinybuild of a revision plans; None where it does not know how."""
    program = "from tinybuild.compare.plans import write_plan; write_plan()"
    out = revision.top.parent / "plan.json"
    done = subprocess.run(
        [sys.executable, "-c", program, str(out)],
        cwd=revision.root,
        env={**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    try:
        return wire.load(Plan, json.loads(out.read_bytes())) if not done.returncode else None
    except (OSError, ValueError):
        return None


def write_plan() -> None:
    """What the zoo in this folder would build, as JSON, to the file that the command line names."""
    told = json.dumps(wire.dump(_read(Path.cwd(), code.PACKAGE)))
    Path(sys.argv[1]).write_text(told, encoding="utf-8")


def _read(root: Path, package: Path) -> Plan:
    """The plan of a zoo; an empty one where there is none."""
    memo = Memo()
    try:
        zoo = load(root, memo, Cache(root / "build" / ".recipes.json", memo))
    except Fault:
        zoo = Zoo(root=root, recipes={}, broken=(), tasks={}, groups={})
    return plan(zoo, memo, package)
