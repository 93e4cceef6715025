"""A check that a bundle is whole: nothing in its files leads to what is not in it."""

from __future__ import annotations

from tinybuild.keys import PLAIN, PROCESSORS, elsewhere, says
from tinybuild.paths import Json, Path, items
from tinybuild.validate.check import Result, check, listed
from tinybuild.validate.subject import Subject

FILES = ("config.json", "generation_config.json", "tokenizer_config.json", *PROCESSORS)
TEXTS = (*PLAIN, "added_tokens_decoder")


@check()
def self_contained(subject: Subject) -> Result | None:
    """No config leads to code, a file or a repository that is not in the bundle (auto_map,
    vocab_file, _name_or_path)."""
    files = {name: data for name in FILES if (data := subject.file(name))}
    if not files:
        return None
    faults = [
        f"{file} has {'.'.join(path)}: {value}"
        for file, data in files.items()
        for path, value in items(data)
        if _leads(path, value)
    ]
    return Result.of(
        not faults,
        measured=listed(faults) if faults else f"{len(files)} files",
        wanted="no key that leads elsewhere",
        values={"files": len(files), "faults": len(faults)},
    )


def _leads(path: Path, value: Json) -> bool:
    """Whether a value leads elsewhere by a name on its way, or by itself. Lists hold words."""
    if value is None or value == "":
        return False
    if any(says(name, "elsewhere") for name in path):
        return True
    words = any(name in TEXTS or name.isdecimal() for name in path)
    return not words and all(elsewhere(name, value) for name in path)
