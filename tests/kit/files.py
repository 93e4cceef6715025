"""Files of tests: what is in a folder, and small edits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]  # the repository
SHARED = ROOT.parent / "shared"  # real upstream files, where they are


def contents(folder: Path) -> dict[str, bytes]:
    """{posix path: bytes} of the files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite a JSON file with what `change` makes of it (or does to it, returning None)."""
    data = json.loads(path.read_text())
    made = change(data)
    path.write_text(json.dumps(data if made is None else made))
