"""The files of a bundle to publish, held to its receipt, its checksums and its report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinybuild.artefact.signature import covered
from tinybuild.bundle import REPORT, SIGNATURE, SUMS, alone
from tinybuild.errors import BuildFault, Finding
from tinybuild.files import tree
from tinybuild.publish.target import Target


@dataclass(frozen=True, kw_only=True)
class Local:
    """A file to publish. blob: what git calls its bytes."""

    data: Path | bytes
    size: int
    sha256: str
    blob: str

    @classmethod
    def of(cls, data: Path | bytes) -> Local:
        content = data if isinstance(data, bytes) else data.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
        return cls(
            data=data,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            blob=blob.hexdigest(),
        )


def ready(target: Target) -> dict[str, Local]:
    """{name in the repository: file}. Raises BuildFault where the bundle is not as it was built."""
    folder, hint = Path(target.folder), f"tinybuild build -a {target.name}"
    wrong = list(_wrong(folder, target.receipt))
    if wrong:
        where = f"dist/{target.name}"
        raise BuildFault(Finding(what=what, where=where, hint=hint) for what in wrong)
    if target.kind == "model":
        signed = [SIGNATURE] if (folder / SIGNATURE).is_file() else []
        return {name: Local.of(folder / name) for name in sorted((*target.receipt, *signed))}
    files = {name: Local.of(folder / at) for name, at in alone(target.receipt).items()}
    sums = "".join(f"{files[name].sha256}  {name}\n" for name in sorted(files))
    return {**files, SUMS: Local.of(sums.encode())}


def _wrong(folder: Path, receipt: Mapping[str, str]) -> Iterator[str]:
    """What of a bundle is not as its receipt, its checksums and its report have to be."""
    if not folder.is_dir():
        yield "it is not there"
        return
    here = {name: entry["sha256"] for name, entry in tree(folder).items()}
    if here.pop(SIGNATURE, None) and covered(folder) != here:
        yield f"{SIGNATURE} is not of these files: sign the bundle again, or delete it"
    sums = listed((folder / SUMS).read_text(encoding="utf-8")) if SUMS in here else {}
    for name in sorted({*here, *receipt}):
        if name not in receipt:
            yield f"{name} is in no receipt"
        elif name not in here:
            yield f"{name} is missing"
        elif name != SUMS and sums.get(name) != here[name]:
            yield f"{name} is not what {SUMS} says"
        elif here[name] != receipt[name]:
            yield f"{name} is not what the receipt says"
    if REPORT in here:
        yield from _red((folder / REPORT).read_bytes())


def _red(report: bytes) -> Iterator[str]:
    """The checks of a report that failed."""
    try:
        states = {check["name"]: check["state"] for check in json.loads(report)["checks"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        yield f"{REPORT} cannot be read"
        return
    if "passed" not in states.values():
        yield f"no check passed in {REPORT}"
    for name, state in states.items():
        if state not in ("passed", "not tried"):
            yield f"the check {name} failed"


def listed(sums: str) -> dict[str, str]:
    """{name: sha256} of the text of a SHA256SUMS."""
    lines = (line.partition("  ") for line in sums.splitlines())
    return {name: number for number, _, name in lines if name}
