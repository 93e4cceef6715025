"""What dist/ and build/ hold that no recipe makes any more: of recipes deleted or renamed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinybuild import bundle
from tinybuild.engine import receipts
from tinybuild.engine.stages import STAGES
from tinybuild.files import digest, remove

if TYPE_CHECKING:
    from tinybuild.engine.plan import Zoo

ARCHIVE = ".tar.gz"


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """What is left of one recipe. bundle: whether dist/ holds any of it. now: the recipe that has
    its text today, where it was renamed."""

    name: str
    bundle: bool
    now: str = ""

    def __str__(self) -> str:
        return f"{self.name} (renamed to {self.now})" if self.now else self.name


def orphans(zoo: Zoo) -> tuple[Orphan, ...]:
    """The leftovers of a zoo, sorted by name: only what a build wrote, by its own papers."""
    made = {*zoo.recipes, *(broken.file.stem for broken in zoo.broken)}
    left = (dataclasses.replace(o, now=_renamed(zoo, o.name)) for o in leftovers(zoo.root, made))
    return tuple(left)


def leftovers(root: Path, made: Collection[str]) -> Iterator[Orphan]:
    """What is left of recipes that are not among those of these names, sorted."""
    for name in sorted({*_names(root / "dist"), *_names(root / "build")}.difference(made)):
        packed = any(path.exists() for path in _packed(root, name))
        if packed or any(_stages(root, name)):
            yield Orphan(name=name, bundle=packed)


def clean(root: Path, orphan: Orphan) -> tuple[str, ...]:
    """Remove what a build left of an orphan; what stays, because no build wrote it, as paths below
    the root."""
    name, built = orphan.name, root / "build" / orphan.name
    for path in [*_packed(root, name)]:
        remove(path)
    for folder in [*_stages(root, name)]:
        remove(folder)
        remove(folder.with_name(f"{folder.name}.failure.json"))
    for stage in STAGES if not built.is_symlink() else ():
        for pattern in (f".lock.{stage}", f".{stage}.*"):  # and what a killed build left
            for hidden in built.glob(pattern):
                remove(hidden)
    stay = list[str]()
    for place in (root / "dist" / name, built):
        if place.is_dir() and not place.is_symlink():
            stay += [path.relative_to(root).as_posix() for path in _emptied(place)]
    for above in (root / "dist", root / "build"):
        with contextlib.suppress(OSError):
            if not above.is_symlink():
                above.rmdir()
    return tuple(stay)


def _names(folder: Path) -> Iterator[str]:
    """The recipes that things directly below dist/ or build/ may be of."""
    if folder.is_dir():
        for name in os.listdir(folder):
            if not name.startswith("."):
                yield name.removesuffix(ARCHIVE)


def _packed(root: Path, name: str) -> Iterator[Path]:
    """The files in dist/ that the bundle's SHA256SUMS, or the receipt of its pack stage, names; the
    archive alone where only that is left."""
    folder, archive = root / "dist" / name, root / "dist" / f"{name}{ARCHIVE}"
    receipt, _ = receipts.papers(str(root / "build" / name / "pack"))
    listed = dict.fromkeys(receipt.files if receipt is not None else ())
    if not folder.is_symlink() and (folder / bundle.RECIPE).is_file():
        sums = bundle.listed(folder)
        listed |= dict.fromkeys(f"{name}/{file}" for file in (*sums, *bundle.ADDED) if sums)
        listed |= {archive.name: None} if sums else {}
    if not listed and _of_a_bundle(archive, name):
        listed = {archive.name: None}
    for file in listed:
        path, top = root / "dist" / file, (root / "dist").resolve()
        within = ".." not in path.parts and path.resolve().is_relative_to(top)
        if within and path.is_file() and not path.is_symlink():
            yield path


def _of_a_bundle(archive: Path, name: str) -> bool:
    """Whether an archive is what pack leaves: sums are among the first files of a bundle."""
    import tarfile
    import zlib

    try:
        with tarfile.open(archive, "r|gz") as tar:
            first = [member.name for member in itertools.islice(tar, 16)]
    except (OSError, EOFError, tarfile.TarError, zlib.error):
        return False
    return f"{name}/{bundle.SUMS}" in first


def _stages(root: Path, name: str) -> Iterator[Path]:
    """The stages in build/NAME that have a receipt, or a note of their failure."""
    folder = root / "build" / name
    for stage in STAGES if not folder.is_symlink() else ():
        note = folder / f"{stage}.failure.json"
        if receipts.papers(str(folder / stage))[0] or receipts.failure(receipts.read(str(note))):
            yield folder / stage


def _emptied(folder: Path) -> list[Path]:
    """Remove folders without files; the files that are still there."""
    files = list[Path]()
    for path in sorted(folder.iterdir()):
        files += _emptied(path) if path.is_dir() and not path.is_symlink() else [path]
    if not files:
        folder.rmdir()
    return files


def _renamed(zoo: Zoo, name: str) -> str:
    """The recipe that has the text of an orphan's."""
    text = receipts.read(str(zoo.root / "dist" / name / bundle.RECIPE)).decode(errors="replace")
    same = (one.name for one in zoo.recipes.values() if one.sha256 == digest(text))
    return next(same, "") if text else ""
