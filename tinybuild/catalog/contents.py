"""What the files of a bundle tell a reader: how its config came to be, its checks, its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinybuild import bundle
from tinybuild.expected.format import FILES
from tinybuild.paths import Data, Json, mapping


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A key of the config that is not as in the source, as text."""

    key: str
    before: str
    after: str
    reason: str


def changes(place: Path, longest: int) -> Iterator[Changed]:
    """What of a bundle's config differs from its source's; longest: characters of a value."""
    for change in _listed(place / "config_changes.json", "changes"):
        yield Changed(
            key=str(change["key"]),
            before=short(change["from"], longest),
            after=short(change["to"], longest),
            reason=str(change["reason"]),
        )


def checks(place: Path) -> list[Data]:
    """The checks of a bundle, as its report has them."""
    return _listed(place / "report.json", "checks")


def expected(place: Path) -> Iterator[tuple[str, str]]:
    """What a port is held to: each case with its modalities, and its outputs."""
    for case in _listed(place / FILES[0], "cases"):
        outputs, told = case.get("outputs"), list[str]()
        for one in map(mapping, outputs if isinstance(outputs, list) else []):
            value = one.get("value")
            if not one.get("trace"):
                told.append(f"{one['name']}{f' {value:.4g}' if isinstance(value, float) else ''}")
        told += ["greedy ids"] if case.get("greedy") else []
        takes = case.get("modalities")
        takes = ", ".join(map(str, takes)) if isinstance(takes, list) else ""
        yield f"{case.get('name')} ({takes})", ", ".join(told)


def files(place: Path) -> list[tuple[str, int]]:
    """(name, bytes) of each file of a bundle, the largest first."""
    paths = [path for path in place.rglob("*") if path.is_file()]
    sizes = [(path.relative_to(place).as_posix(), path.stat().st_size) for path in paths]
    return sorted(sizes, key=lambda item: (-item[1], item[0]))


def _listed(file: Path, key: str) -> list[Data]:
    values = bundle.data(file).get(key)
    return [mapping(value) for value in values] if isinstance(values, list) else []


def short(value: Json, longest: int) -> str:
    """A value as text; longest: its characters at most."""
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[: longest - 3] + "..."
