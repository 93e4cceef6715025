"""Other programs: git, GitHub's own command line, and tinybuild itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tinybuild.errors import BuildFault
from tinybuild.paths import Json

MOVED = 3  # the exit code of a command that looks for what moved, where something did


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a program ended, and what it said. name: what it is called in messages."""

    name: str
    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last thing that it said."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def held(self, *codes: int) -> Said:
        """Itself; raises BuildFault where it ended otherwise."""
        if self.code not in (codes or (0,)):
            raise BuildFault.of(f"{self.name} ended with {self.code}: {self.last}")
        return self

    def data(self) -> Json:
        """What it said as JSON; raises BuildFault."""
        try:
            value: Json = json.loads(self.out)
        except ValueError:
            raise BuildFault.of(f"{self.name} did not say JSON") from None
        return value


def run(root: Path, *words: str, text: str = "") -> Said:
    """Runs a program in a folder, with `text` to read."""
    try:
        done = subprocess.run(
            words, cwd=root, input=text, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BuildFault.of(f"there is no program {words[0]} here", hint="install it") from None
    name = " ".join(words[:2])
    return Said(name=name, code=done.returncode, out=done.stdout, err=done.stderr)


def git(root: Path, *words: str) -> Said:
    said = run(root, "git", *words)
    command = next(word for word in words if word != "-c" and "=" not in word)
    return replace(said, name=f"git {command}")


def gh(root: Path, *words: str, text: str = "") -> Said:
    return run(root, "gh", *words, text=text).held()


def tinybuild(root: Path, *words: str) -> Said:
    """A command of the tinybuild that runs this, in a zoo's folder."""
    said = run(root, sys.executable, "-m", "tinybuild", *words)
    return Said(name=f"tinybuild {words[0]}", code=said.code, out=said.out, err=said.err)
