"""Bundles in a folder, and comparisons that were written before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tinybuild import bundle, wire
from tinybuild.compare.bundles import Place
from tinybuild.compare.differences import Comparison
from tinybuild.errors import RecipeFault
from tinybuild.paths import Json, get


def bundles(folder: Path) -> dict[str, Place]:
    """The bundles of a zoo's folder, or of one that holds bundles, by their names."""
    if (folder / "dist").is_dir():
        folder = folder / "dist"
    build = folder.parent / "build" if folder.name == "dist" else None
    return {
        path.name: Place(folder=path, build=build / path.name if build else None)
        for path in sorted(folder.iterdir())
        if (path / bundle.RECIPE).is_file() and (path / bundle.SUMS).is_file()
    }


def written(files: Sequence[Path]) -> list[Comparison]:
    """The comparisons that `diff --json` wrote to files, each once. Raises RecipeFault."""
    told = dict[str, Comparison]()
    for path in files:
        try:
            data: Json = json.loads(path.read_bytes())
            listed = get(data, ("bundles",))
            for one in listed if isinstance(listed, list) else []:
                comparison = wire.load(Comparison, one)
                told.setdefault(comparison.name, comparison)
        except (OSError, ValueError) as error:
            hint = "tinybuild diff BASE --json writes one"
            raise RecipeFault.of(f"{path} is not a diff ({error})", hint=hint) from None
    return list(told.values())
