"""The exact versions of the toolchain: one file for pip's constraints, one with the hashes."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OURS = "tinybuild-models"


def pins(file: str) -> dict[str, str]:
    """Version by name."""
    lines = (ROOT / file).read_text().splitlines()
    found = (re.match(r"([\w.-]+)(?:\[.*\])?==([^ ;]+)", line) for line in lines)
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.fixture(scope="module")
def hashed() -> dict[str, str]:
    return pins("requirements.hashes.txt")


def test_every_version_has_its_hashes(hashed: dict[str, str]) -> None:
    wanted = pins("constraints.txt")
    assert len(wanted) > 150
    assert {name: hashed.get(name) for name in wanted} == wanted


def test_every_file_is_known_by_its_sha256() -> None:
    text = (ROOT / "requirements.hashes.txt").read_text().replace(" \\\n", "")
    for line in text.splitlines():
        pin, *digests = line.split(" --hash=sha256:")
        assert digests, pin
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest.strip()) for digest in digests), pin


def test_what_needs_something_has_it(hashed: dict[str, str]) -> None:
    """With `--no-deps` nothing else comes: whatever is installed here for the project is named."""
    assert sorted(needed(OURS, ("test",)) - hashed.keys() - {OURS}) == []


def needed(name: str, extras: tuple[str, ...]) -> set[str]:
    """All that a distribution needs here, and they in turn."""
    seen, todo = set[tuple[str, tuple[str, ...]]](), [(name, extras)]
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += requirements(*one)
    return {name for name, _ in seen}


def requirements(name: str, extras: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    try:
        told = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:  # of a build that brings no such library
        return
    for text in told:
        asked = Requirement(text)
        holds = [asked.marker.evaluate({"extra": one}) for one in ("", *extras) if asked.marker]
        if asked.marker is None or any(holds):
            yield canonicalize_name(asked.name), tuple(sorted(asked.extras))
