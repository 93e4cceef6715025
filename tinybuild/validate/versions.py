"""The check of which versions of transformers a bundle is for."""

from __future__ import annotations

from collections.abc import Iterator

from tinybuild.config.older import FOUR, Least, here, least
from tinybuild.validate.check import Result, check
from tinybuild.validate.loaded import stored
from tinybuild.validate.subject import Subject


@check()
def least_version(subject: Subject) -> Result | None:
    """Which version of transformers is the least that reads the bundle alike, by the keys, types,
    classes and names that it needs; with `compat: transformers-4` it is 4.57."""
    if not subject.parts & {"model", "tokenizer"}:
        return None
    names = ("config.json", "tokenizer_config.json", "tokenizer.json")
    told = least(*map(subject.file, names))
    renamed = tuple(_renamed(subject)) if "model" in subject.parts else ()
    if renamed:
        told = Least(version=here(), reasons=(*renamed, *told.reasons))
    return Result.of(
        told.version == FOUR or not subject.compat,
        measured=f"transformers {told.version}",
        wanted=f"transformers {FOUR}" if subject.compat else "the least version, by what it reads",
        values={"transformers": told.version},
        note=f"older ones do not read {', '.join(told.reasons)}" if told.reasons else "",
    )


def _renamed(subject: Subject) -> Iterator[str]:
    """Parts whose weights have other names in the file than in older versions, which had a module
    around them: this version knows how to read those."""
    from transformers.conversion_mapping import PrefixChange, get_model_conversion_mapping

    names = stored(subject)
    for change in get_model_conversion_mapping(subject.model):
        if not isinstance(change, PrefixChange) or not change.prefix_to_remove:
            continue
        scope = f"{change.scope_prefix}." if change.scope_prefix else ""
        if scope.endswith(f"{change.prefix_to_remove}."):
            continue  # the whole never had one within the other (CLIPModel)
        inside = [name for name in names if f".{scope}" in f".{name}"]
        if inside and not any(f".{scope}{change.prefix_to_remove}." in f".{n}" for n in inside):
            yield f"the weights of {scope.rstrip('.') or 'the model'} by these names"
