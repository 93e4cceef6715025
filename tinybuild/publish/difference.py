"""What a new bundle changes in the one that is published, in Markdown."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinybuild.compare import Side, compare
from tinybuild.compare.markdown import details
from tinybuild.errors import Fault
from tinybuild.files import inside, write
from tinybuild.publish.files import Local


def difference(name: str, held: Mapping[str, Path | bytes], files: Mapping[str, Local]) -> str:
    """held: the files that are published; files: those that are to be."""
    with tempfile.TemporaryDirectory(prefix="tinybuild-") as aside:
        before, after = Path(aside) / "before", Path(aside) / "after"
        for folder, given in ((before, held), (after, {n: f.data for n, f in files.items()})):
            for path, data in given.items():
                content = data if isinstance(data, bytes) else data.read_bytes()
                write(inside(folder, path), content)
        try:
            return details(compare(name, Side.of(before), Side.of(after))).strip()
        except Fault as fault:  # what is published may be anything
            return f"What differs inside of the files cannot be said: {fault.findings[0].what}"
