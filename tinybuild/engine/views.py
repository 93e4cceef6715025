"""What a stage sees of the stages before it: a folder for each need, with the needed files only.

They are copies. A link would lead the stage to its neighbours and let it alter the artefact, and a
hard link moves the artefact's ctime, so that its digest would have to be taken again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from tinybuild.engine.stages import Need


def lay(need: Need, files: Iterable[str], source: Path, view: Path) -> None:
    """Copy the needed ones of a stage's files from its folder to an empty one."""
    view.mkdir(parents=True)
    folders = {"": view}
    for name in files:
        if not need.covers(name):
            continue
        above = name.rpartition("/")[0]
        if above not in folders:
            folders[above] = view / above
            folders[above].mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, view / name)
