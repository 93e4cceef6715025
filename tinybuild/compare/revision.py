"""A zoo as it was at a revision of its git repository, laid out in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild.errors import Fault, RecipeFault


@dataclass(frozen=True, kw_only=True)
class Revision:
    """commit: its full name. top: the repository as it was. root: the zoo in it. now: the
    repository as it is, with the paths of it that git keeps, or would with the next commit."""

    commit: str
    top: Path
    root: Path
    now: Path
    tracked: frozenset[str]

    def keeps(self, path: Path) -> bool:
        """Whether git keeps a file of the repository as it is now; one of elsewhere it does not."""
        real = path.resolve()
        inside = real.is_relative_to(self.now)
        return inside and real.relative_to(self.now).as_posix() in self.tracked

    def then(self, path: Path) -> Path:
        """Where a path of the repository as it is stands in the revision."""
        return self.top / path.resolve().relative_to(self.now)


@contextlib.contextmanager
def checked_out(root: Path, name: str) -> Iterator[Revision]:
    """The revision that a name stands for, gone again afterwards. The files are written through an
    index of their own: nothing of the repository changes. Raises RecipeFault."""
    top = Path(_git(root, "rev-parse", "--show-toplevel").strip()).resolve()
    commit = _commit(root, name)
    with tempfile.TemporaryDirectory(prefix="tinybuild-") as folder:
        there = Path(folder).resolve() / "zoo"
        there.mkdir()
        own = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git(top, "read-tree", commit, env=own)
        _git(top, "checkout-index", "--all", "--quiet", f"--prefix={there}/", env=own)
        listed = _git(top, "ls-files", "-z", "-co", "--exclude-standard").split("\0")
        yield Revision(
            commit=commit,
            top=there,
            root=there / root.resolve().relative_to(top),
            now=top,
            tracked=frozenset(listed),
        )


def is_revision(root: Path, name: str) -> bool:
    """Whether a name stands for a commit of the repository that a zoo is in."""
    try:
        return bool(_commit(root, name))
    except Fault:
        return False


def _commit(root: Path, name: str) -> str:
    try:
        wanted = f"{name}^{{commit}}"
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted).strip()
    except Fault:
        _git(root, "rev-parse", "--show-toplevel")  # says so where there is no repository
        what = f"the repository has no revision {name}"
        hint = "name a branch, a tag or a commit; a shallow clone lacks all but the last commits: "
        raise RecipeFault.of(what, hint=f"{hint}git fetch --unshallow") from None


def _git(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> str:
    """What git says. Raises RecipeFault where there is no git, no repository, or it fails."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise RecipeFault.of("there is no git here", hint="install git") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["git failed"]
        hint = "a zoo is compared with a revision of the git repository that it is in"
        raise RecipeFault.of(f"git {words[0]}: {said[0]}", hint=hint)
    return os.fsdecode(done.stdout)
