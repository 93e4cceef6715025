"""One recipe file becomes a checked recipe, or all that is wrong with it, sorted by place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from tinybuild.errors import Fault, Finding, RecipeFault
from tinybuild.files import digest
from tinybuild.paths import Json
from tinybuild.recipe import lock
from tinybuild.recipe.agree import agree, methods, unnamed
from tinybuild.recipe.contract import contract, errors, fill
from tinybuild.recipe.marked import named, parse, place
from tinybuild.recipe.wish import Recipe
from tinybuild.recipe.words import HINTS, findings
from tinybuild.sections import Sections

VERSION = 1


def read(file: Path, shown: str, group: str, text: bytes | None = None) -> Recipe:
    """Read one recipe file and its lock; raises RecipeFault with all findings, sorted by place."""
    text = file.read_bytes() if text is None else text
    return Recipe(
        name=file.stem,
        file=file,
        group=group,
        data=check(text, shown),
        sha256=own_digest(text),
        pins=lock.read(file),
    )


def own_digest(text: bytes) -> str:
    """The digest of a recipe's text, without a byte order mark."""
    return digest(text.decode("utf-8-sig"))


def check(text: bytes, shown: str) -> Sections:
    """A recipe's text as its data; raises RecipeFault with all findings, sorted by place."""
    value, marks, problems = parse(text)
    if value is not None or not problems:
        known = {mark for mark, _, _ in problems}
        placed = [(place(marks, f.key), f.what, f.hint) for f in dict.fromkeys(_wrong(value))]
        problems += [problem for problem in placed if problem[0] not in known]
    if problems:
        raise RecipeFault(
            Finding(what=what, where=f"{shown}:{line}:{column}", hint=hint)
            for (line, column), what, hint in sorted(problems)
        )
    return cast(Sections, value)


def _wrong(value: Json) -> Iterable[Finding]:
    """What is wrong with the data of a recipe; where nothing is, its defaults are filled in."""
    if not isinstance(value, dict):
        what = "the file is empty" if value is None else "a recipe is a mapping of keys"
        return [Finding(what=what, hint="start with `version: 1` and `summary: ...`")]
    version = value.get("version", VERSION)
    if type(version) is not int or version != VERSION:  # 1 == 1.0 == True in Python
        what = f"version must be {VERSION}, not {named(version)}"
        return [Finding(key=("version",), what=what, hint=HINTS["version"])]
    wrong = [f for error in errors("recipe", value) for f in findings(error, "the recipe")]
    wrong += methods(value.get("tokenizer"), value.get("source"))
    if wrong:
        return wrong
    fill(contract("recipe"), value)
    section = value.get("tokenizer")
    if isinstance(section, dict):
        section.setdefault("method", unnamed(section, value.get("source")))
    return agree(cast(Sections, value))


def locate(fault: Fault, file: Path, shown: str) -> Fault:
    """The same fault with each finding's `key` turned into file:line:column, sorted by place."""
    try:
        _, marks, _ = parse(file.read_bytes())
    except OSError:
        return fault
    placed = []
    for finding in fault.findings:
        line, column = 0, 0
        if finding.key and not finding.where:
            line, column = place(marks, finding.key)
            finding = dataclasses.replace(finding, where=f"{shown}:{line}:{column}")
        placed.append((line, column, finding))
    return type(fault)(finding for *_, finding in sorted(placed, key=lambda item: item[:2]))
