"""The check of which versions of transformers a bundle is for."""

from __future__ import annotations

from tinybuild.config.older import FOUR, least
from tinybuild.validate.check import Result, check
from tinybuild.validate.subject import Subject


@check()
def least_version(subject: Subject) -> Result | None:
    """Which version of transformers is the least that reads the bundle alike, by the keys, types
    and classes that it needs; with `compat: transformers-4` it is 4.57."""
    if not subject.parts & {"model", "tokenizer"}:
        return None
    names = ("config.json", "tokenizer_config.json", "tokenizer.json")
    told = least(*map(subject.file, names))
    return Result.of(
        told.version == FOUR or not subject.compat,
        measured=f"transformers {told.version}",
        wanted=f"transformers {FOUR}" if subject.compat else "the least version, by what it reads",
        values={"transformers": told.version},
        note=f"older ones do not read {', '.join(told.reasons)}" if told.reasons else "",
    )
