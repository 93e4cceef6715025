"""Recipes built as a revision of the zoo had them, in its temporary folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinybuild.compare.affected import elsewhere
from tinybuild.compare.bundles import Place
from tinybuild.compare.revision import Revision
from tinybuild.engine import code
from tinybuild.engine.plan import Zoo
from tinybuild.files import copy
from tinybuild.paths import Json, get

OURS = ("TINYBUILD_SHARD",)  # says which part of another selection is to be built


def rebuilt(
    zoo: Zoo, revision: Revision, names: Sequence[str]
) -> tuple[Mapping[str, Place], tuple[str, ...]]:
    """Where the bundles of these recipes are as a revision makes them, and why one is not there.

    What our build/ holds is copied, so that only stages that differ run. They run with the
    libraries that are installed, and with the tinybuild of then where that is in the repository.
    Files that git does not keep are taken as they are now.
    """
    _lend(zoo, revision, names)
    done = subprocess.run(
        [sys.executable, *_command(revision.root), *names],
        cwd=revision.root,
        env=_environment(revision),
        capture_output=True,
        check=False,
    )
    places = dict[str, Place]()
    for name in names:
        folder = revision.root / "dist" / name
        if folder.is_dir():
            places[name] = Place(folder=folder, build=revision.root / "build" / name)
    lost = [name for name in names if name not in places]
    whys = _whys(revision.root) if lost else {}
    said = done.stderr.decode(errors="replace").strip().splitlines()
    last = said[-1] if said else f"exit code {done.returncode}"
    return places, tuple(
        f"{name} cannot be built as it was: {whys.get(name, last)}" for name in lost
    )


def _lend(zoo: Zoo, revision: Revision, names: Sequence[str]) -> None:
    """Copy what stages left, also of recipes that these are made from; not the bundles: one that is
    there was made there."""
    build = zoo.root / "build"
    for name in _with_upstreams(zoo, names):
        for stage in sorted((build / name).glob("*")):
            if stage.is_dir() and not stage.name.startswith(".") and stage.name != "pack":
                shutil.copytree(stage, revision.root / "build" / name / stage.name)
        for task in zoo.tasks_of(name):
            for _, _, path in elsewhere(task, revision):
                if path.resolve().is_relative_to(revision.now):
                    copy(path, revision.then(path))
    for kept in build.glob(".code-*.json"):
        copy(kept, revision.root / "build" / kept.name)


def _with_upstreams(zoo: Zoo, names: Sequence[str]) -> tuple[str, ...]:
    todo, known = list(names), dict[str, None]()
    while todo:
        name = todo.pop()
        if name not in known:
            known[name] = None
            before = (other for task in zoo.tasks_of(name) for other in task.before)
            todo += [other.partition(":")[2] for other in before]
    return tuple(known)


def _command(root: Path) -> list[str]:
    return ["-m", "doit"] if (root / "dodo.py").is_file() else ["-m", "tinybuild", "build"]


def _environment(revision: Revision) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in OURS}
    if revision.keeps(code.PACKAGE / "__init__.py"):
        env["PYTHONPATH"] = str(revision.then(code.PACKAGE).parent)
    return {**env, "PYTHONDONTWRITEBYTECODE": "1"}


def _whys(root: Path) -> dict[str, str]:
    """Recipe -> the first line of why it failed, as the run told."""
    try:
        told: Json = json.loads((root / "build" / "run.json").read_bytes())
    except (OSError, ValueError):
        return {}
    failed, whys = get(told, ("failed",)), dict[str, str]()
    for one in failed if isinstance(failed, list) else []:
        name = str(get(one, ("task",))).rpartition(":")[2]
        whys.setdefault(name, str(get(one, ("message",))).strip().partition("\n")[0])
    return whys
