"""What another recipe of this zoo made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from tinybuild.files import PROVENANCE, RECEIPT
from tinybuild.paths import Data
from tinybuild.source.kinds import Kind, Request, Resolved
from tinybuild.source.pins import fault, useful, wanted


def resolve(request: Request) -> Resolved:
    """The config and tokenizer files that the other recipe's model and tokenizer stages left; for
    a dataset those of its dataset stage."""
    wish = request.wish
    files: dict[str, Callable[[], Path]] = {}
    suffixes, _ = useful(wish)
    for stage in ("tokenizer", "model", "dataset"):
        made = request.inputs.get(f"{wish.slot}.{stage}")
        for path in sorted(made.rglob("*")) if made is not None else ():
            name = path.relative_to(made or path).as_posix()
            if path.is_file() and wanted(name, suffixes) and name not in (RECEIPT, PROVENANCE):
                files[name] = functools.partial(Path, path)
    if not files:
        makes = "no dataset" if wish.slot == "dataset" else "neither a model nor a tokenizer"
        raise fault(wish, f"the recipe {wish.text()} makes {makes}")
    return Resolved(facts={}, files=files)


def _made_from(wish: Data, facts: Mapping[str, str]) -> str:
    return f"the recipe `{wish['recipe']}`"


KIND = Kind(
    look=lambda wish, memo: None,
    resolve=resolve,
    made_from=_made_from,
    rows_of=lambda wish: f"recipe `{wish['recipe']}`",
    builds_on=True,
)
