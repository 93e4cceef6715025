"""Whether a bundle is, file for file, what its SHA256SUMS and its statement say."""

from __future__ import annotations

import gzip
import hashlib
import os
import shlex
import stat
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybuild import bundle, statement
from tinybuild.artefact import signature
from tinybuild.errors import BuildFault, Finding
from tinybuild.files import UNUSUAL, archive, sha256

ABROAD = (".gitattributes", ".git/", ".cache/huggingface/")  # what git and the Hub's client add
BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that a bundle's SHA256SUMS does not hold true of, and what to do about it."""

    file: str
    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


@dataclass(frozen=True, kw_only=True)
class Mend:
    """What puts a bundle right, by where it lies: in a folder, which `shown` names; as what the
    recipe of that name makes in this zoo; or in a repository of the Hub."""

    shown: str
    recipe: str = ""
    repository: str = ""

    @property
    def anew(self) -> str:
        """What makes the whole of it anew."""
        if self.recipe:
            return f"tinybuild build {self.recipe}"
        if self.repository:
            return f"take an earlier commit, {self.repository}@COMMIT, or have it published again"
        return f"delete {self.shown}, then download it, or copy it, again"

    @property
    def none(self) -> str:
        """What to do where there is no bundle."""
        return self.anew if self.recipe else "give a bundle's folder, as dist/NAME is"

    def file(self, program: str, name: str) -> str:
        """The same for one file, which the program puts right."""
        if self.recipe or self.repository:
            return self.anew
        return f"{program} {shlex.quote(os.path.join(self.shown, name))}"

    @property
    def key(self) -> str:
        """What to do about a signature that is not by the key that was given."""
        signer = "give the key of who signed it"
        sign = f"tinybuild sign {self.recipe} --key KEY signs it anew"
        return f"{signer}, or {sign if self.recipe else self.anew}"


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


def verify(folder: Path, key: Path | None = None, mend: Mend | None = None) -> Verified:
    """Read every file of a bundle. key: the signer's public one. mend: that of a folder where it is
    not given. Raises Fault where the folder holds no SHA256SUMS, or one that is none, and where the
    key is none."""
    mend = mend or Mend(shown=str(folder))
    if not (folder / bundle.SUMS).is_file():
        what = f"there is no {bundle.SUMS}: this is not a bundle of tinybuild"
        raise BuildFault.of(what, where=folder.name, hint=mend.none)
    listed = bundle.listed(folder)
    if not listed:
        what = f"{bundle.SUMS} does not hold a line `SHA256  FILE` for each file"
        raise BuildFault.of(what, where=folder.name, hint=mend.anew)
    files = dict(_files(folder))
    signed = files.pop(bundle.SIGNATURE, None)
    problems = [*_files_that_differ(files, listed, mend)]
    problems = problems or [*_statement(folder, listed, mend), *_archive(folder, mend)]
    if key is not None:
        wrong = signature.verify(folder, key, folder.name, ABROAD)
        problems += [Problem(file=bundle.SIGNATURE, what=wrong, hint=mend.key)] if wrong else []
    known = [name for name in listed if name in files]
    return Verified(
        files=len(known),
        bytes=sum(files[name].lstat().st_size for name in known),
        sums=sha256(folder / bundle.SUMS),
        signed=signed is not None,
        problems=tuple(sorted(problems, key=lambda problem: problem.file)),
    )


def intact(folder: Path, mend: Mend) -> Verified:
    """The same; raises Fault, with a finding for each problem, where there is any."""
    found = verify(folder, mend=mend)
    if found.problems:
        raise BuildFault(
            [
                Finding(what=f"{mend.shown} is not what its {bundle.SUMS} says"),
                *(Finding(what=str(one), hint=hint) for one, hint in advised(found.problems)),
            ]
        )
    return found


def advised(problems: Sequence[Problem]) -> Iterator[tuple[Problem, str]]:
    """Each problem with its hint, which is said once where it is the same for others: with the last
    of them. Those come one after the other."""
    for hint in dict.fromkeys(problem.hint for problem in problems):
        *others, last = [problem for problem in problems if problem.hint == hint]
        yield from ((problem, "") for problem in others)
        yield last, hint


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


def _files_that_differ(
    files: dict[str, Path], listed: dict[str, str], mend: Mend
) -> Iterator[Problem]:
    for name in sorted({*files, *listed} - {bundle.SUMS}):
        path = files.get(name)
        if path is None:
            yield Problem(file=name, what="is missing", hint=mend.anew)
        elif name not in listed:
            hint = mend.file("rm", name)
            yield Problem(file=name, what=f"is not in {bundle.SUMS}", hint=hint)
        elif path.is_file() and not path.is_symlink() and sha256(path) != listed[name]:
            yield Problem(file=name, what="has other bytes", hint=mend.anew)
    for name, path in files.items():
        mode, known = path.lstat().st_mode, name in listed or name == bundle.SUMS
        hint = mend.anew if known else mend.file("rm", name)
        if stat.S_ISLNK(mode):
            yield Problem(file=name, what="is a link", hint=hint)
        elif not stat.S_ISREG(mode):
            yield Problem(file=name, what="is not a plain file", hint=hint)
        elif mode & UNUSUAL:
            what = f"has the mode {stat.S_IMODE(mode):04o}, not 0644"
            yield Problem(file=name, what=what, hint=mend.file("chmod 644", name))


def _statement(folder: Path, listed: dict[str, str], mend: Mend) -> Iterator[Problem]:
    """What the statement of how it was made says otherwise, where there is one."""
    if bundle.MADE not in listed:
        return
    try:
        told = statement.read(folder)
    except (ValueError, RecursionError) as error:
        yield Problem(file=bundle.MADE, what=f"cannot be read: {error}", hint=mend.anew)
        return
    for file, what in statement.unlike(told, listed):
        yield Problem(file=file, what=what, hint=mend.anew)


def _archive(folder: Path, mend: Mend) -> Iterator[Problem]:
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
        hint = mend.file("rm", f"../{beside.name}")
        yield Problem(file=f"../{beside.name}", what="does not hold the same files", hint=hint)


def _unpacked(path: Path) -> str:
    """sha256 of what a gzip file holds."""
    hasher = hashlib.sha256()
    with gzip.open(path) as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    return hasher.hexdigest()
