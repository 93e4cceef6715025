"""A bundle made again from its own recipe and locks, in a zoo and a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild import bundle, statement
from tinybuild.engine import receipts
from tinybuild.engine.stages import STAGES
from tinybuild.errors import BuildFault, Finding
from tinybuild.expected.format import FILES
from tinybuild.files import copy, pretty, write
from tinybuild.recipe import lock, zoofile
from tinybuild.source import KINDS, kind_of, wishes

_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.(yaml|lock\.json)")
TRIED = 40  # lines of a failed build that a message holds


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A file that is not the same. how: differs, is missing (here), is new (here). why: libraries
    that decide its bytes and have another version here."""

    file: str
    how: str
    stage: str
    why: tuple[str, ...]

    def __str__(self) -> str:
        why = ", ".join(self.why) or "no version differs"
        return f"{self.file} {self.how} ({self.stage}: {why})"


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A library that is not here as it was there; "" where it was not installed."""

    name: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.name} {self.there or 'none'} -> {self.here or 'none'}"


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What came of it. files: how many the bundle has. made_from: the other recipes built."""

    recipe: str
    made_from: tuple[str, ...]
    files: int
    differences: tuple[Difference, ...]
    toolchain: tuple[Moved, ...]


def rebuild(folder: Path) -> Rebuilt:
    """Build what a bundle's folder tells in a temporary zoo, and compare file by file. Raises Fault
    where it cannot be built here."""
    made = told(folder)
    name = made.asked.recipe
    with tempfile.TemporaryDirectory(prefix="tinybuild-") as aside:
        root = Path(aside).resolve() / "zoo"
        _lay(folder, made, root)
        _build(root, name)
        again = root / "dist" / name
        toolchain = tuple(_moved(made, told(again)))
        others = {path.stem for path in (root / "recipes").glob("*.yaml")} - {name}
        return Rebuilt(
            recipe=name,
            made_from=tuple(sorted(others)),
            files=len(bundle.listed(folder)),
            differences=tuple(_differences(folder, again, _stages(root, name), toolchain)),
            toolchain=toolchain,
        )


def told(folder: Path) -> statement.Statement:
    """What a bundle says of how it was made. Raises Fault."""
    try:
        return statement.read(folder)
    except FileNotFoundError:
        what = f"there is no {bundle.MADE}: an older tinybuild packed it, or another program"
        raise BuildFault.of(what, where=folder.name) from None
    except (ValueError, RecursionError) as error:
        raise BuildFault.of(f"{bundle.MADE} cannot be read: {error}", where=folder.name) from None


def _lay(folder: Path, made: statement.Statement, root: Path) -> None:
    """A zoo of the bundle's recipes, with the locks of those upstreams that others can change."""
    from tinybuild.recipe.reading import check

    recipes = root / "recipes"
    recipes.mkdir(parents=True)
    for name, path in bundle.makings(folder, made.asked.recipe):
        if not _NAMED.fullmatch(name) or path.is_symlink() or not path.is_file():
            what = f"{path.relative_to(folder).as_posix()} is missing, or not a file of a recipe"
            raise BuildFault.of(what, where=folder.name)
        copy(path, recipes / name)
    if made.asked.zoo:  # cards name the repository that it gives
        write(root / zoofile.FILE, pretty({"version": 1, "publish": dict(made.asked.zoo)}))
    absent = list[Finding]()
    for file in sorted(recipes.glob("*.yaml")):
        data = check(file.read_bytes(), f"recipes/{file.name}")
        for wish in wishes(data, recipes):
            if KINDS[wish.kind].local is not None:
                what = f"{wish.slot} is read from {wish.text()}, which a bundle does not hold"
                hint = "build it in the zoo that it is from"
                absent.append(Finding(what=what, where=file.name, hint=hint))
        pins = lock.read(file)
        kept = {slot: pin for slot, pin in pins.items() if KINDS[kind_of(pin.wish)].locked}
        lock.save(file, kept)
    if absent:
        raise BuildFault(absent)


def _build(root: Path, name: str) -> None:
    """Build in a fresh process, with this tinybuild. Raises Fault with what failed."""
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    done = subprocess.run(
        [sys.executable, "-m", "tinybuild", "build", "-a", name],  # the store proves nothing
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    ran = receipts.data(receipts.read(str(root / "build" / "run.json")))
    failed = ran.get("failed") if isinstance(ran, Mapping) else None
    if isinstance(failed, list) and failed:
        said = [str(one["message"]) for one in failed if isinstance(one, Mapping)]
    else:
        said = (done.stdout + done.stderr).strip().splitlines()[-TRIED:]
    raise BuildFault.of(f"the recipe {name} does not build here:\n" + "\n".join(said))


def _moved(there: statement.Statement, here: statement.Statement) -> Iterator[Moved]:
    """What differs between two toolchains."""
    first, second = there.toolchain, here.toolchain
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            yield Moved(name=name, there=first.get(name, ""), here=second.get(name, ""))


def _stages(root: Path, name: str) -> dict[str, str]:
    """file of the bundle -> the stage that made it, for those that are not pack's own."""
    made = dict[str, str]()
    for stage, below in (("tokenizer", ""), ("model", ""), ("dataset", f"{bundle.DATASET}/")):
        receipt, _ = receipts.papers(str(root / "build" / name / stage))
        made |= {f"{below}{file}": stage for file in (receipt.files if receipt else ())}
    return {**made, **dict.fromkeys(("report.json", *FILES), "validate")}


def _differences(
    there: Path, here: Path, stages: Mapping[str, str], moved: tuple[Moved, ...]
) -> Iterator[Difference]:
    """The files of two bundles that are not the same; SHA256SUMS only says so once more. Of a
    dataset that was published by itself, the files that are published so."""
    first, second = bundle.listed(there), bundle.listed(here)
    below = f"{bundle.DATASET}/"
    whole = any(name.startswith(below) for name in first)
    alone = not whole and any(name.startswith(below) for name in second)
    names = bundle.alone(second) if alone else {name: name for name in second}
    second = {name: second[at] for name, at in names.items()}
    for file in sorted({*first, *second}):
        if first.get(file) == second.get(file):
            continue
        stage = stages.get(names.get(file, file), "pack")
        deciding = {"tinybuild", "python", *STAGES[stage].libraries}
        if stage == "model":  # its ids and its vocabulary are the tokenizer's
            deciding |= {*STAGES["tokenizer"].libraries}
        how = "is missing" if file not in second else "is new" if file not in first else "differs"
        yield Difference(
            file=file,
            how=how,
            stage=stage,
            why=tuple(str(one) for one in moved if stage == "pack" or one.name in deciding),
        )
