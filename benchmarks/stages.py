"""CPU seconds of the stages over the zoo of architectures, and the functions that take them.

Builds every Nth type (or those named) in this process, one after another, after the imports: as a
warm worker does, with what the process beside it reads done here as well. A signal at each
hundredth second of work says where the process is; the time since the last counts for that place.

    python benchmarks/stages.py [--every 45 | TYPE ...]
"""

from __future__ import annotations

import argparse
import collections
import importlib
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
STEP, SHOWN = 0.01, 40
AIM = 0.6  # CPU seconds of model, validate and pack of the median type
LATE = ("model", "validate", "pack")


class Here:
    """What the process beside a worker does, done in this one."""

    def call(self, function: str, argument: object, limits: object) -> object:
        from tinybuild import wire
        from tinybuild.workers import call

        return wire.dump(call(function, argument))


class Profile:
    """Seconds by function of tinybuild, with what it calls and by itself."""

    def __init__(self) -> None:
        self.within: dict[str, float] = collections.defaultdict(float)
        self.own: dict[str, float] = collections.defaultdict(float)
        self.last = 0.0

    def take(self, number: int, frame: FrameType | None) -> None:
        now = time.process_time()
        took, self.last = now - self.last, now
        names = list[str]()
        while frame is not None:
            path = frame.f_code.co_filename
            if "/tinybuild/" in path:
                names.append(f"{path.rpartition('/tinybuild/')[2]}:{frame.f_code.co_name}")
            frame = frame.f_back
        for name in {*names}:
            self.within[name] += took
        if names:
            self.own[names[0]] += took

    def __enter__(self) -> None:
        self.last = time.process_time()
        signal.signal(signal.SIGPROF, self.take)
        signal.setitimer(signal.ITIMER_PROF, STEP, STEP)

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0, 0)


def build(zoo: Any, name: str, folder: Path) -> dict[str, float]:
    """Stage -> CPU seconds, up to the first that fails."""
    from tinybuild import wire
    from tinybuild.engine.stages import STAGES
    from tinybuild.errors import Fault
    from tinybuild.workers import Job

    facts, folders, took = dict[str, Any](), dict[str, Path](), dict[str, float]()
    for task in zoo.tasks_of(name):
        stage = STAGES[task.stage]
        module, _, function = stage.function.partition(":")
        folders_of = {**folders, "recipe": task.recipe.file} if stage.recipe else {**folders}
        told = {
            need.name: {key: facts[need.name].get(key) for key in need.facts} for need in task.needs
        }
        out = folder / name / task.stage
        out.mkdir(parents=True)
        job = Job(
            task=task.name,
            settings=task.settings,
            inputs=folders_of,
            facts=told,
            root=ROOT,
            out=out,
            seed=task.seed,
        )
        begun = time.process_time()
        try:
            facts[task.stage] = wire.dump(getattr(importlib.import_module(module), function)(job))
        except Fault as fault:
            print(f"{name}: {task.stage} fails: {str(fault).splitlines()[0][:100]}")
            break
        finally:
            took[task.stage] = time.process_time() - begun
        folders[task.stage] = out
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*")
    parser.add_argument("--every", type=int, default=45)
    asked = parser.parse_args()
    from tinybuild import workers

    os.environ.update(workers.SETTINGS)
    from tinybuild.engine import plan
    from tinybuild.files import Memo
    from tinybuild.recipe import Cache

    for library in importlib.import_module("tinybuild.warm").LIBRARIES:
        importlib.import_module(library)
    workers._beside.append(Here())  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        zoo = plan.load(ROOT, Memo(), Cache(folder / "recipes.json", Memo()))
        every = [*zoo.groups["architectures"]]
        names = [f"arch-{name}" for name in asked.types] or every[asked.every // 2 :: asked.every]
        build(
            zoo, "arch-gpt2", folder / "first"
        )  # what the first type imports and nobody else does
        profile = Profile()
        with profile:
            rows = {name: build(zoo, name, folder) for name in names}
    for name, row in rows.items():
        print(f"{name:<40} " + "  ".join(f"{stage} {took:6.2f}" for stage, took in row.items()))
    for stage in ("fetch", "tokenizer", *LATE):
        took = [row.get(stage, 0.0) for row in rows.values()]
        print(f"{stage:<12} sum {sum(took):8.2f} s   median {statistics.median(took):6.2f} s")
    late = [sum(row.get(stage, 0.0) for stage in LATE) for row in rows.values()]
    median = statistics.median(late)
    print(f"{'+'.join(LATE)}: median {median:.2f} s, {median / AIM:.1f} times the aim of {AIM} s")
    whole = sum(sum(row.values()) for row in rows.values())
    for title, counter in (("with what it calls", profile.within), ("by itself", profile.own)):
        print(f"\nfunction, {title}")
        for function in sorted(counter, key=counter.__getitem__, reverse=True)[:SHOWN]:
            print(f"{counter[function]:8.2f} s  {counter[function] / whole:6.1%}  {function}")


if __name__ == "__main__":
    main()
