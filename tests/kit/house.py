"""A copy of the package with something added, as a person adds it: a module, and one entry."""

from __future__ import annotations

import shutil
from pathlib import Path

from kit.files import ROOT


def extended(place: Path, module: str, text: str, table: tuple[str, str], entry: str) -> str:
    """A copy with a new module (its path below the package), and an entry in a table.

    table: the file that has it, and the line behind which the entry goes. Returns what PYTHONPATH
    must be for the copy to be imported.
    """
    package = Path(shutil.copytree(ROOT / "tinybuild", place / "tinybuild"))
    shutil.copytree(ROOT / "schemas", place / "schemas")
    (package / module).write_text(text)
    path, line = package / table[0], f"{table[1]}\n"
    before = path.read_text()
    assert before.count(line) == 1, line
    path.write_text(before.replace(line, f"{line}{entry}\n"))
    return str(place)
