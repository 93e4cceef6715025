"""Whether a bundle is, file for file, what its SHA256SUMS and its statement say."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinybuild import bundle, statement
from tinybuild.artefact import signature
from tinybuild.errors import BuildFault, Fault
from tinybuild.files import UNUSUAL, archive, sha256

ABROAD = (".gitattributes", ".git/", ".cache/huggingface/")  # what git and the Hub's client add
BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that a bundle's SHA256SUMS does not hold true of."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was looked at, and what is wrong with it. sums: sha256 of SHA256SUMS itself, which
    stands for all the files when nothing is wrong. signed: whether there is a signature; it was
    verified where the signer's key was given."""

    files: int
    bytes: int
    sums: str
    signed: bool
    problems: tuple[Problem, ...]


def verify(folder: Path, key: Path | None = None) -> Verified:
    """Read every file of a bundle. key: the signer's public one. Raises Fault where the folder
    holds no SHA256SUMS, or one that is none, and where the key is none."""
    if not (folder / bundle.SUMS).is_file():
        what = f"there is no {bundle.SUMS}: this is not a bundle of tinybuild"
        raise BuildFault.of(what, where=folder.name, hint="give a bundle's folder, as dist/NAME is")
    listed = bundle.listed(folder)
    if not listed:
        what = f"{bundle.SUMS} does not hold a line `SHA256  FILE` for each file"
        raise BuildFault.of(what, where=folder.name, hint="build or download the bundle again")
    files = dict(_files(folder))
    signed = files.pop(bundle.SIGNATURE, None)
    problems = [*_files_that_differ(files, listed)]
    problems = problems or [*_statement(folder, listed), *_archive(folder)]
    if key is not None:
        wrong = signature.verify(folder, key, folder.name, ABROAD)
        problems += [Problem(file=bundle.SIGNATURE, what=wrong)] if wrong else []
    known = [name for name in listed if name in files]
    return Verified(
        files=len(known),
        bytes=sum(files[name].lstat().st_size for name in known),
        sums=sha256(folder / bundle.SUMS),
        signed=signed is not None,
        problems=tuple(sorted(problems, key=lambda problem: problem.file)),
    )


def intact(folder: Path, shown: str) -> Verified:
    """The same; raises Fault, with a finding for each problem, where there is any."""
    found = verify(folder)
    if found.problems:
        raise refusal(found, shown)
    return found


def refusal(found: Verified, shown: str) -> Fault:
    findings = [f"{shown} is not what its {bundle.SUMS} says", *map(str, found.problems)]
    return BuildFault(BuildFault.of(what).findings[0] for what in findings)


def _files(folder: Path, prefix: str = "") -> Iterator[tuple[str, Path]]:
    """Everything below a folder that is not a folder itself, links not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if f"{name}/" not in ABROAD:
                    yield from _files(Path(entry.path), f"{name}/")
            elif name not in ABROAD:
                yield name, Path(entry.path)


def _files_that_differ(files: dict[str, Path], listed: dict[str, str]) -> Iterator[Problem]:
    for name in sorted({*files, *listed} - {bundle.SUMS}):
        path = files.get(name)
        if path is None:
            yield Problem(file=name, what="is missing")
        elif name not in listed:
            yield Problem(file=name, what=f"is not in {bundle.SUMS}")
        elif path.is_file() and not path.is_symlink() and sha256(path) != listed[name]:
            yield Problem(file=name, what="has other bytes")
    for name, path in files.items():
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield Problem(file=name, what="is a link")
        elif not stat.S_ISREG(mode):
            yield Problem(file=name, what="is not a plain file")
        elif mode & UNUSUAL:
            yield Problem(file=name, what=f"has the mode {stat.S_IMODE(mode):04o}, not 0644")


def _statement(folder: Path, listed: dict[str, str]) -> Iterator[Problem]:
    """What the statement of how it was made says otherwise, where there is one."""
    if bundle.MADE not in listed:
        return
    try:
        told = statement.read(folder)
    except (ValueError, RecursionError) as error:
        yield Problem(file=bundle.MADE, what=f"cannot be read: {error}")
        return
    for file, what in statement.unlike(told, listed):
        yield Problem(file=file, what=what)


def _archive(folder: Path) -> Iterator[Problem]:
    """The archive beside a folder of plain files, where there is one, must hold the same."""
    beside = folder.resolve().with_name(f"{folder.resolve().name}.tar.gz")
    if not beside.is_file():
        return
    try:
        with tempfile.TemporaryDirectory() as aside:
            top = beside.name.removesuffix(".tar.gz")
            again = archive(folder, Path(aside) / "tar.gz", top, without=bundle.SIGNATURE)
            same = _unpacked(beside) == again
    except (gzip.BadGzipFile, EOFError, zlib.error):
        same = False
    if not same:
        yield Problem(file=f"../{beside.name}", what="does not hold the same files")


def _unpacked(path: Path) -> str:
    """sha256 of what a gzip file holds."""
    hasher = hashlib.sha256()
    with gzip.open(path) as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    return hasher.hexdigest()
