"""What rules make, in tables beside the tests: a change of a rule shows there, row by row.

test_X.txt holds what tests of test_X.py make. `TABLES=write pytest -n 0 FILE ...` writes the rows
anew that these tests compare. A row that no test compares any more goes with the table: delete it
before.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kit.files import contents
from tinybuild.paths import leaves

NONE: Mapping[str, str] = {}
SHOWN = 20  # rows of a message
HOW = "if they are right: TABLES=write pytest -n 0 FILE (with the versions of constraints.txt)"


def held(
    test: str, rows: Mapping[str, str], usual: Mapping[str, str] = NONE, *, all_: bool = True
) -> None:
    """Compare rows with those of the table of a test's module (its `__file__`). usual: of a row's
    key, the key of one that many are like; those do not stand there themselves. all_: whether each
    row must stand there; a test that was added has none until somebody writes them."""
    rows = {key.replace(": ", ":"): " ".join(row.split()) for key, row in rows.items()}
    table = Path(test).with_suffix(".txt")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    known = dict(line.split(": ", 1) for line in lines)
    if rows and os.environ.get("TABLES") == "write":
        for key, row in rows.items():
            known.pop(key, None)
            if key not in usual or known.setdefault(usual[key], row) != row:
                known[key] = row
        text = "".join(f"{key}: {row}\n" for key, row in sorted(known.items()))
        table.write_text(text, encoding="utf-8")
    told = []
    for key, row in rows.items():
        was = known.get(key, known.get(usual.get(key, ""), ""))
        if was != row and (was or all_):
            told.append(f"{key}: {_differing(was, row)}")
    assert not told, "\n".join([f"{table.name} has other rows; {HOW}", *told[:SHOWN]])


def always(request: pytest.FixtureRequest) -> bool:
    """Whether what a test makes has rows: of the default run, and the same in every process."""
    return not any(request.node.get_closest_marker(name) for name in ("slow", "chance"))


def row(data: Mapping[str, Any]) -> str:
    """Nested data as the words of a row, key=value, in the order of the keys, which are dotted."""
    return " ".join(
        sorted(f"{'.'.join(map(str, path))}={_short(value)}" for path, value in leaves(data))
    )


def digests(folder: Path) -> dict[str, str]:
    """{posix path: the beginning of the digest} of the files below a folder."""
    made = contents(folder).items()
    return {name: hashlib.sha256(data).hexdigest()[:8] for name, data in made}


def _short(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _differing(was: str, now: str) -> str:
    """The words that one row has and the other does not."""
    before, after = was.split(" "), now.split(" ")
    gone = [word for word in before if word not in after]
    come = [word for word in after if word not in before]
    return f"{' '.join(gone) or 'nothing'} -> {' '.join(come) or 'nothing'}"
