"""Where the store is, and who may do what with it: what the environment says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild.errors import Fault, Finding
from tinybuild.store.kept import SHA256

STORE = "TINYBUILD_STORE"  # a folder, a URL, or off
MODE = "TINYBUILD_STORE_MODE"  # read: what STORE names is not written to
SUMS = "TINYBUILD_STORE_SUMS"  # a file: only the entries that it lists are taken
OFF = ("off", "0", "no", "false")


@dataclass(frozen=True, kw_only=True)
class Place:
    """folder: the store on this machine. far: the URL of another one behind it; "" for none.
    writes: whether the one that was named is written to. signed: key -> sha256 of the entry, of
    those that may be taken; None: any may."""

    folder: Path
    far: str = ""
    writes: bool = True
    signed: Mapping[str, str] | None = None


def place(environment: Mapping[str, str], root: Path) -> Place | None:
    """Where the store is; None where it is off. root: the zoo's folder. Raises Fault."""
    given, mode = environment.get(STORE, ""), environment.get(MODE, "")
    if given.lower() in OFF:
        return None
    if mode not in ("", "read", "write"):
        what = f"{mode!r} is not a mode of the store"
        raise Fault([Finding(what=what, where=MODE, hint="set it to read, or to write")])
    sums = environment.get(SUMS, "")
    signed = _signed(root / Path(sums).expanduser(), sums) if sums else None
    if "://" in given:
        return Place(folder=_own(environment), far=given, writes=mode != "read", signed=signed)
    folder = root / Path(given).expanduser() if given else _own(environment)
    return Place(folder=folder, writes=mode != "read", signed=signed)


def _own(environment: Mapping[str, str]) -> Path:
    """The user's own store, in the cache folder of the XDG specification: absolute paths only."""
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    cache = given if given.is_absolute() else Path("~/.cache").expanduser()
    return cache / "tinybuild" / "store"


def _signed(file: Path, said: str) -> dict[str, str]:
    """key -> sha256, from lines "SHA256  KEY  whatever". Raises Fault."""
    hint = "write one with: tinybuild store sums > FILE"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        what = f"{said} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})"
        raise Fault([Finding(what=what, where=SUMS, hint=hint)]) from None
    signed = dict[str, str]()
    for number, line in enumerate(lines, 1):
        words = re.split(r" +", line.strip())
        if line.strip() and not line.startswith("#"):
            if len(words) < 2 or not all(map(SHA256.fullmatch, words[:2])):
                what = "the line does not begin with two sha256"
                raise Fault([Finding(what=what, where=f"{said}:{number}", hint=hint)])
            signed[words[1]] = words[0]
    return signed
