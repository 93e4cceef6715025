"""Why a task must run, in words: what changed since its receipt was written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from tinybuild.engine.receipts import State
from tinybuild.paths import Data, Json, Path, differences

VERSIONS = ("transformers", "tokenizers", "version")  # in what is seen of an upstream


def reasons(before: State, now: State, codes: Callable[[str], Data]) -> Iterator[str]:
    """What differs between two states. codes: a digest of code -> {file: sha256}."""
    for path, old, new in differences(before.settings, now.settings):
        if path == ("recipe",):
            yield "the text of the recipe changed"
        else:
            yield f"recipe: {'.'.join(path)}: {_short(old)} -> {_short(new)}"
    if before.seed != now.seed:
        yield f"the seed: {before.seed} -> {now.seed}"
    for path, _, _ in differences(before.inputs, now.inputs):
        yield f"what it takes from {path[0]} changed"
    for path, old, new in differences(before.upstream, now.upstream):
        yield _upstream(path, old, new)
    if before.code != now.code:
        files = [path[0] for path, _, _ in differences(codes(before.code), codes(now.code))]
        yield from (f"tinybuild/{file} changed" for file in files)
        if not files:
            yield "the code of tinybuild changed"
    for path, old, new in differences(before.versions, now.versions):
        yield f"{path[0]}: {_short(old)} -> {_short(new)}"


def _upstream(path: Path, old: Json, new: Json) -> str:
    if path[-1] in VERSIONS:
        return f"upstream {'.'.join(path)}: {_short(old)} -> {_short(new)}"
    how = "is new" if old is None else "is gone" if new is None else "changed"
    return f"the upstream file {path[-1]} {how}"


def _short(value: Json) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
