"""Token ids of a smaller vocabulary, where no tokenizer says what they become."""

from __future__ import annotations

from collections.abc import Iterator

from tinybuild.config.tree import Tree
from tinybuild.keys import (
    CODE_ROWS,
    TEXT_ROWS,
    behind_codes,
    codes,
    ids_in,
    is_code,
    is_id,
    measures,
    replaced,
    says,
    vocabulary,
)
from tinybuild.paths import Data, Json, Path, mapping, whole


def token_ids(tree: Tree) -> None:
    """Ids above the vocabulary move to distinct places at its top; equal ones stay equal."""
    sizes = [
        size
        for _, node in tree.nodes()
        if whole(size := node.get("vocab_size")) and "vocab_offset" not in node  # part of another's
    ]
    if not sizes:
        return
    top = min(sizes)
    ids = {
        number
        for _, node in tree.nodes()
        for name, value in node.items()
        if is_id(name) and not is_code(name, node)
        for number in ids_in(name, value)
    }
    free = (number for number in range(top - 1, 0, -1) if number not in ids)
    large = sorted((number for number in ids if number >= top), reverse=True)
    moved = {number: next(free, None) for number in large}
    for path, name, value in tree.items():
        if value is None and says(name, "placeholder"):
            tree.set((*path, name), next(free), "rule ids: left open in the source")
    for path, name, value in tree.items():
        node = mapping(tree.data, path)
        if is_code(name, node) or not is_id(name):
            continue
        if behind_codes(name, mapping(tree.source, path)):
            tree.set((*path, name), node["vocab_size"], "rule ids: one past the codes")
        elif any(number in moved for number in ids_in(name, value)):
            new = replaced(name, value, lambda number: moved.get(number, number))
            tree.set((*path, name), new, "rule ids: inside the vocabulary")
    _stretches(tree)
    _codes(tree)


def _codes(tree: Tree) -> None:
    """Ids of codes: the last of a codebook is the last again, and so is the row behind those of the
    text and all codebooks, which pads."""
    for path, node in tree.nodes():
        before, counts = mapping(tree.source, path), codes(node)
        was, now = (one.get(counts or "") for one in (before, node))
        if not (whole(was) and whole(now)):
            continue
        last = {was - 1: now - 1}
        behind = [_behind(one) for one in (before, node)]
        if behind[0] is not None and behind[1] is not None:
            last[behind[0]] = behind[1]
        for name, value in list(node.items()):
            if is_code(name, node) and whole(value):
                new = last.get(value, min(value, now - 1))
                tree.set((*path, name), new, "rule ids: of a code")


def _behind(data: Data) -> int | None:
    """The row behind those of a config's text and of the codes of all its codebooks."""
    text, each, books = (data.get(n) for n in (TEXT_ROWS[1], CODE_ROWS, "num_codebooks"))
    return text + each * books if whole(text) and whole(each) and whole(books) else None


def _stretches(tree: Tree) -> None:
    """A stretch of the vocabulary that belongs to a modality goes where its ids went; to the end of
    the vocabulary where other tokens now come behind these, which the class would take for it.

    Stretches that end where another begins, or with the vocabulary, do so again.
    """
    text = vocabulary(tree.source)
    ends: dict[Json, Json] = {text: vocabulary(tree.data)}
    moved: dict[int, int] = {}
    for path, name, value in tree.items():
        if is_id(name):
            before = ids_in(name, tree.was((*path, name)))
            moved.update(zip(before, ids_in(name, value), strict=False))
    for start, length, path in sorted(_modalities(tree), reverse=True):
        inside = [new for old, new in moved.items() if start <= old < start + length]
        if not inside:
            continue
        end = ends.get(start + length)
        end = end if whole(end) else max(inside) + 1
        first = min(inside) if min(inside) >= end // 2 else end - len(inside)
        ends[start] = first
        reason = "rule ids: the stretch of the modality's"
        tree.set((*path, "vocab_offset"), first, reason)
        tree.set((*path, "vocab_size"), end - first, reason)
        for other, name, value in tree.items():
            same = whole(value) and tree.was((*other, name)) == start
            if same and measures(name) == "vocabulary":
                tree.set((*other, name), first, "rule ids: up to a modality's stretch")


def _modalities(tree: Tree) -> Iterator[tuple[int, int, Path]]:
    """Where the stretches of modalities began in the source, how long they were, and the path of
    the config of each."""
    for path, _ in tree.nodes():
        start, length = (tree.was((*path, name)) for name in ("vocab_offset", "vocab_size"))
        if whole(start) and whole(length):
            yield start, length, path
