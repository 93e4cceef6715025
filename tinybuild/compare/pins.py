"""The versions of libraries that a repository pins, and how they changed since a revision."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tinybuild.compare.revision import Revision
from tinybuild.paths import differences

PINS = ("constraints*.txt", "requirements*.txt", "*.lock", "pylock*.toml")
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*(?:==|@)\s*([^\s;#\\]+)", re.MULTILINE)


def moved(root: Path, revision: Revision) -> dict[str, str]:
    """Library -> how the version that the repository pins changed."""
    changed = dict[str, str]()
    for before, now in {revision.root: root, revision.top: revision.now}.items():
        names = {
            path.name for folder in (before, now) for glob in PINS for path in folder.glob(glob)
        }
        for name in sorted(names):
            for (library,), old, new in differences(_pins(before / name), _pins(now / name)):
                words = f"{library}: {old or 'nothing'} -> {new or 'nothing'} ({name})"
                changed.setdefault(library, words)
    return changed


def _pins(path: Path) -> dict[str, str]:
    """The versions that a file of pins, or a lock, names."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            found = [(one[1], one[2]) for one in PIN.finditer(text)]
        else:
            data = tomllib.loads(text)
            listed = data.get("package", data.get("packages", []))
            found = [(str(one["name"]), str(one["version"])) for one in listed if "version" in one]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}
